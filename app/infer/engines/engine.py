"""The interface of engines, which run a network, and the network and run folder they are made from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from app.models.checkpoint import Checkpoint


class Engine(Protocol):
    """A function from windows (B, C, D, H, W) to logits (B, L, D, H, W), float32, on the engine's device."""

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the logits of windows, each computed by itself; the caller may change them in place."""
        ...


def device_of(engine: Engine) -> torch.device:
    """Return the device of an engine's logits, which is the CPU for engines of other libraries."""
    device: torch.device = getattr(engine, "device", torch.device("cpu"))
    return device


def precision_of(engine: Engine) -> torch.dtype:
    """Return the precision an engine computes in, which is float32 for engines of other libraries."""
    precision: torch.dtype = getattr(engine, "precision", torch.float32)
    return precision


@dataclass(frozen=True)
class Member:
    """A trained network and the folder of its run, which also holds exported forms of the network."""

    run: Path
    checkpoint: Checkpoint
