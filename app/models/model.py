"""What a model is: topology alone; every spatial convolution comes from an operator."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from app.core.registry import Registered
from app.core.types import Size
from app.operators import Operator

VERSION = 2
"""Version of what one description computes. A checkpoint names it; a checkpoint that does not has version 1.

2: channel gates squeeze the output of a convolution, before its norm; in a residual block they follow the
second convolution; operators complete in themselves have the norm and the activation of the model.
"""


@dataclass(frozen=True)
class Shape:
    """What the data ask of a network; entry i of widths, strides and kernels belongs to level i."""

    in_channels: int
    classes: int
    widths: tuple[int, ...]
    strides: tuple[Size, ...]
    kernels: tuple[Size, ...]
    patch: Size | None = None
    """Voxels of a patch; only operators made for one size need it."""
    regions: tuple[tuple[int, ...], ...] = ()
    """Label values of each class where classes are regions that may overlap; empty where they are labels."""
    version: int = VERSION


class Model(Registered, ABC):
    """Makes networks (B, in_channels, D, H, W) -> logits (B, classes, D, H, W).

    In training mode a network may return a list of logits, finest first, for deep supervision.
    """

    @abstractmethod
    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """A network with fresh weights."""
