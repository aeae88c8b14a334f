"""What a method is: what it may put in a convolution's place, what that loses, and how it is fitted."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from app.compress.fits.conv_fit import ConvTask
from app.compress.fits.settings import CompressSettings
from app.core.types import Size
from app.operators import ConvSpec
from app.operators.decomposed import Factors


@dataclass(frozen=True)
class DecompositionMethod(ABC):
    """A way to decompose one convolution."""

    settings: CompressSettings

    @abstractmethod
    def factors(self, conv: ConvSpec, rank: int) -> Factors:
        """What a rank means."""

    @abstractmethod
    def energies(self, task: ConvTask) -> Tensor:
        """The energy that each further rank adds, largest first."""

    @abstractmethod
    def fit(self, task: ConvTask, factors: Factors) -> nn.Sequential:
        """The convolutions in its place."""


def chain_kernels(kernel: Size, chain: str) -> tuple[Size, ...]:
    """A kernel as itself, as depth then plane, or axis by axis; axes of one tap take no part."""
    depth, height, width = kernel
    parts: dict[str, Sequence[Size]] = {
        "none": [kernel],
        "2d1d": [(depth, 1, 1), (1, height, width)],
        "1d": [(depth, 1, 1), (1, height, 1), (1, 1, width)],
    }
    kept = tuple(part for part in parts[chain] if math.prod(part) > 1)
    return kept or (kernel,)
