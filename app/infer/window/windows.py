"""Where windows lie on a volume, and how much each of their voxels counts."""

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from app.core.types import Size, as_size

_SIGMA = 0.125  # of the Gaussian, as a share of the window: nnU-Net's and MONAI's choice
_LEAST_WEIGHT = 1e-3  # keeps the corner of a single window apart from a division by almost nothing


@dataclass(frozen=True)
class Windows:
    """Windows of one size on a volume padded to hold at least one: starts along (D, H, W) in the padded."""

    volume: Size
    size: Size
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    at_once: int = 1
    """How many a forward pass takes."""

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Voxels added before and after each axis, half and half."""
        missing = [max(size - extent, 0) for size, extent in zip(self.size, self.volume, strict=True)]
        return tuple((voxels // 2, voxels - voxels // 2) for voxels in missing)

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """Where each window begins."""
        return list(product(*self.starts))

    @property
    def voxels(self) -> int:
        """Of all windows together: what a network computes."""
        return math.prod(map(len, self.starts)) * math.prod(self.size)

    def turn(self, layer: int, row: int, column: int) -> int:
        """A number that differs by one between neighbours, for the window of a layer at a place in (H, W)."""
        return layer + self.starts[1].index(row) + self.starts[2].index(column)

    def weights(self) -> Tensor:
        """A Gaussian (D, H, W) of the window's size, 1 at its centre."""
        axes = []
        for size in self.size:
            place = torch.arange(size) - (size - 1) / 2
            axes.append(torch.exp(-(place**2) / (2 * (_SIGMA * size) ** 2)))
        depth, height, width = axes
        weights = depth[:, None, None] * height[:, None] * width
        return weights.clamp_(min=max(float(weights.min()), _LEAST_WEIGHT))


def lay_windows(volume: Size, size: Size, overlap: float, at_once: int = 1) -> Windows:
    """Windows every (1 - overlap) of their size, the last moved back inside."""
    depth, height, width = (
        _starts(max(extent, length), length, overlap) for extent, length in zip(volume, size, strict=True)
    )
    return Windows(volume, as_size(size), (depth, height, width), at_once)


def _starts(extent: int, length: int, overlap: float) -> tuple[int, ...]:
    step = max(1, int(length * (1 - overlap)))
    count = math.ceil((extent - length) / step) + 1
    return tuple(min(index * step, extent - length) for index in range(count))
