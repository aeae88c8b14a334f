"""What a checkpoint holds: it rebuilds its own network and is read as data alone (weights_only)."""

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
LEAST_SHARE = 0.05  # of the largest part that a first stage finds: smaller ones are always mistakes
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Locator:
    """The trained network of a first stage, which finds the region that another network works in."""

    network: NetworkSpec
    plan: Plan
    weights: Weights
    margin_mm: Spacing
    """Around what it finds, on either side along (D, H, W)."""
    least_share: float = LEAST_SHARE
    """A share of the largest part's size; smaller parts are taken for mistakes."""

    def trained_network(self) -> nn.Module:
        """The network in eval mode."""
        network = self.network.build()
        network.load_state_dict(self.weights)
        return network.eval()

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {
            "network": self.network.describe(),
            "plan": self.plan.to_dict(),
            "weights": self.weights,
            "margin_mm": list(self.margin_mm),
            "least_share": self.least_share,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Locator":
        """The inverse of `to_dict`."""
        return cls(
            network=network_from(values["network"]),
            plan=Plan.from_dict(values["plan"]),
            weights=values["weights"],
            margin_mm=as_spacing(values["margin_mm"]),
            least_share=values.get("least_share", LEAST_SHARE),
        )


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights, what it was trained to see, and the state of its training."""

    network: NetworkSpec
    plan: Plan
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    weights: Weights
    averaged: Weights | None
    """Exponential moving average of the weights, where training kept one."""
    training: dict[str, Any]
    """State to resume from: plain values and tensors."""
    flip_axes: tuple[int, ...] | None = None
    """Axes of (D, H, W) that the training flipped: a prediction may mirror these; None where not recorded."""
    locator: Locator | None = None
    """The first stage, where the plan has one."""
    reading: Reading = field(default_factory=Reading)
    """How the training read its scans, which a prediction repeats."""
    values: tuple[int, ...] = ()
    """What label files hold for each of `labels`, and for the ignored one; empty for 0, 1, 2, ..."""

    @property
    def label_values(self) -> tuple[int, ...]:
        """What label files hold for class 0, 1, 2, ... and, behind these, for the one that is ignored."""
        return self.values or tuple(range(len(self.labels) + 1))

    @property
    def inference_weights(self) -> Weights:
        """The averaged weights where there are some."""
        return self.weights if self.averaged is None else self.averaged

    def trained_network(self) -> nn.Module:
        """The network in eval mode, with the averaged weights where there are some."""
        network = self.network.build()
        network.load_state_dict(self.inference_weights)
        return network.eval()

    def without_training(self) -> "Checkpoint":
        """The checkpoint with the weights it predicts with alone, and nothing to resume from."""
        return replace(self, weights=self.inference_weights, averaged=None, training={})

    @property
    def digest(self) -> str:
        """SHA-256 of the weights it predicts with and their names."""
        named = sorted(self.inference_weights.items())
        return digest_of_bytes(
            part for name, values in named for part in (name.encode(), values.contiguous().numpy().tobytes())
        )


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: after a crash the file is the old or the new checkpoint, whole.

    Raises:
        InputError: nothing can be written there.
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
        "values": list(checkpoint.values),
    }
    packed = io.BytesIO()  # torch, writing to a full disk itself, does not say that it is full
    torch.save(content, packed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(packed.getbuffer())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read tensors and plain values, on the CPU.

    Raises:
        InputError: missing, damaged, of another format, or anything but data.
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
        values=tuple(content.get("values", ())),
    )
