"""The interface of a decomposition method: the factors of a rank, their loss, and the fit."""

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
    """A method to decompose one convolution."""

    settings: CompressSettings

    @abstractmethod
    def factors(self, conv: ConvSpec, rank: int) -> Factors:
        """Return the factors that a rank stands for."""

    @abstractmethod
    def energies(self, task: ConvTask) -> Tensor:
        """Return the energy that each further rank adds, largest first."""

    @abstractmethod
    def fit(self, task: ConvTask, factors: Factors) -> nn.Sequential:
        """Return the fitted convolutions that replace the convolution."""


def chain_kernels(kernel: Size, chain: str) -> tuple[Size, ...]:
    """Return the kernels that replace one: itself, depth and plane, or one per axis, without 1x1x1."""
    depth, height, width = kernel
    parts: dict[str, Sequence[Size]] = {
        "none": [kernel],
        "2d1d": [(depth, 1, 1), (1, height, width)],
        "1d": [(depth, 1, 1), (1, height, 1), (1, 1, width)],
    }
    kept = tuple(part for part in parts[chain] if math.prod(part) > 1)
    return kept or (kernel,)
