"""What an engine is, a network made ready to run, and what it is made from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from app.models.checkpoint import Checkpoint


class Engine(Protocol):
    """Windows (B, C, D, H, W), float32 -> logits (B, L, D, H, W), float32, on the engine's own device."""

    def __call__(self, windows: Tensor) -> Tensor:
        """Logits of each window by itself; the caller may change them in place."""
        ...


def device_of(engine: Engine) -> torch.device:
    """Where an engine's logits lie; those of other libraries lie on the CPU."""
    device: torch.device = getattr(engine, "device", torch.device("cpu"))
    return device


@dataclass(frozen=True)
class Member:
    """A trained network and the folder of the run it comes from, where exported forms of it are kept."""

    run: Path
    checkpoint: Checkpoint
