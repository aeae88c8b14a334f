"""Checkpoints: files that hold a network's description, weights and training state as data only.

They are read with `weights_only=True` and hold all that is needed to rebuild the network.
"""

import io
import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from app.core.digest import digest_of_bytes
from app.core.errors import InputError
from app.core.files import atomic_path
from app.core.plan import Plan
from app.core.reading import Reading
from app.core.types import Spacing, as_spacing
from app.models.network import NetworkSpec, network_from

_FORMAT = 1
LEAST_SHARE = 0.05  # of the largest part that a first stage finds; smaller parts are dropped as mistakes
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Locator:
    """The trained network of a first stage, which finds the region that the main network segments."""

    network: NetworkSpec
    plan: Plan
    weights: Weights
    margin_mm: Spacing
    """Margin added to the found region on either side along (D, H, W)."""
    least_share: float = LEAST_SHARE
    """Smallest part that is kept, as a share of the largest part's size; smaller ones count as mistakes."""

    def trained_network(self) -> nn.Module:
        """Return the network with its trained weights, in eval mode."""
        network = self.network.build()
        network.load_state_dict(self.weights)
        return network.eval()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values and tensors."""
        return {
            "network": self.network.describe(),
            "plan": self.plan.to_dict(),
            "weights": self.weights,
            "margin_mm": list(self.margin_mm),
            "least_share": self.least_share,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Locator":
        """Rebuild a locator from `to_dict`."""
        return cls(
            network=network_from(values["network"]),
            plan=Plan.from_dict(values["plan"]),
            weights=values["weights"],
            margin_mm=as_spacing(values["margin_mm"]),
            least_share=values.get("least_share", LEAST_SHARE),
        )


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights, the facts of its training data, and the state of its training."""

    network: NetworkSpec
    plan: Plan
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    weights: Weights
    averaged: Weights | None
    """Exponential moving average of the weights; None if training kept none."""
    training: dict[str, Any]
    """State to resume from: plain values and tensors."""
    flip_axes: tuple[int, ...] | None = None
    """Axes of (D, H, W) flipped in training, which prediction may mirror; None if not recorded."""
    locator: Locator | None = None
    """The first stage, if the plan has one."""
    reading: Reading = field(default_factory=Reading)
    """The settings with which scans were read in training; prediction uses the same."""
    joining_mm: float | None = None
    """Distance in mm that connects the foreground parts of every training case.

    Predictions drop parts that are farther from the others; None keeps all parts.
    """
    values: tuple[int, ...] = ()
    """The value in label files of each of `labels`, then of the ignored class; empty for 0, 1, 2, ..."""

    @property
    def label_values(self) -> tuple[int, ...]:
        """The value in label files of class 0, 1, 2, ..., then of the ignored class."""
        return self.values or tuple(range(len(self.labels) + 1))

    @property
    def inference_weights(self) -> Weights:
        """The averaged weights if there are any, else the last weights."""
        return self.weights if self.averaged is None else self.averaged

    def trained_network(self) -> nn.Module:
        """Return the network with its weights for inference, in eval mode."""
        network = self.network.build()
        network.load_state_dict(self.inference_weights)
        return network.eval()

    def without_training(self) -> "Checkpoint":
        """Return the checkpoint with its weights for inference only, without the state to resume from."""
        return replace(self, weights=self.inference_weights, averaged=None, training={})

    @property
    def digest(self) -> str:
        """SHA-256 digest of the weights for inference and their names."""
        named = sorted(self.inference_weights.items())
        return digest_of_bytes(
            part for name, values in named for part in (name.encode(), values.contiguous().numpy().tobytes())
        )


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: after a crash the file is the complete old or new checkpoint.

    Raises:
        InputError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "network": checkpoint.network.describe(),
        "plan": checkpoint.plan.to_dict(),
        "modalities": list(checkpoint.modalities),
        "labels": list(checkpoint.labels),
        "weights": checkpoint.weights,
        "averaged": checkpoint.averaged,
        "training": checkpoint.training,
        "flip_axes": None if checkpoint.flip_axes is None else list(checkpoint.flip_axes),
        "locator": None if checkpoint.locator is None else checkpoint.locator.to_dict(),
        "reading": checkpoint.reading.to_dict(),
        "joining_mm": checkpoint.joining_mm,
        "values": list(checkpoint.values),
    }
    packed = io.BytesIO()  # torch.save to a file would not report a full disk as such
    torch.save(content, packed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(packed.getbuffer())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; its tensors are on the CPU.

    Raises:
        InputError: the file is missing, damaged, of another format, or holds more than plain data.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not a readable checkpoint ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: wanted a checkpoint of format {_FORMAT}")
    return Checkpoint(
        network=network_from(content["network"]),
        plan=Plan.from_dict(content["plan"]),
        modalities=tuple(content["modalities"]),
        labels=tuple(content["labels"]),
        weights=content["weights"],
        averaged=content["averaged"],
        training=content["training"],
        flip_axes=None if content.get("flip_axes") is None else tuple(content["flip_axes"]),
        locator=Locator.from_dict(content["locator"]) if content.get("locator") else None,
        reading=Reading.from_dict(content.get("reading"), tuple(content["modalities"])),
        joining_mm=content.get("joining_mm"),
        values=tuple(content.get("values", ())),
    )
