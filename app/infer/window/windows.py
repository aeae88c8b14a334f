"""The positions of windows on a volume, and the weights of their voxels."""

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from app.core.types import Size, as_size

_SIGMA = 0.125  # standard deviation of the Gaussian as a share of the window, as in nnU-Net and MONAI
_LEAST_WEIGHT = 1e-3  # avoids division by almost zero in corners that one window covers


@dataclass(frozen=True)
class Windows:
    """The windows of one size on a volume, which is padded to hold at least one."""

    volume: Size
    size: Size
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    """First voxels of windows along D, H and W of the padded volume."""
    at_once: int = 1
    """Windows per forward pass."""

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Voxels added before and after the volume along each axis, half of them on either side."""
        missing = [max(size - extent, 0) for size, extent in zip(self.size, self.volume, strict=True)]
        return tuple((voxels // 2, voxels - voxels // 2) for voxels in missing)

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """First voxel (D, H, W) of each window in the padded volume."""
        return list(product(*self.starts))

    @property
    def voxels(self) -> int:
        """Voxels of all windows together, which a network has to compute."""
        return math.prod(map(len, self.starts)) * math.prod(self.size)

    def phase(self, layer: int, row: int, column: int) -> int:
        """Return a number for a window that differs by one between neighbouring windows.

        The window is given by its layer and its first `row` and `column`.
        """
        return layer + self.starts[1].index(row) + self.starts[2].index(column)

    def weights(self) -> Tensor:
        """Return the weights of a window's voxels (D, H, W), a Gaussian with 1 at the centre."""
        axes = []
        for size in self.size:
            place = torch.arange(size) - (size - 1) / 2
            axes.append(torch.exp(-(place**2) / (2 * (_SIGMA * size) ** 2)))
        depth, height, width = axes
        weights = depth[:, None, None] * height[:, None] * width
        return weights.clamp_(min=max(float(weights.min()), _LEAST_WEIGHT))


def lay_windows(volume: Size, size: Size, overlap: float, at_once: int = 1) -> Windows:
    """Return windows at steps of (1 - overlap) of their size; the last along an axis is moved back inside."""
    depth, height, width = (
        _starts(max(extent, length), length, overlap) for extent, length in zip(volume, size, strict=True)
    )
    return Windows(volume, as_size(size), (depth, height, width), at_once)


def _starts(extent: int, length: int, overlap: float) -> tuple[int, ...]:
    step = max(1, int(length * (1 - overlap)))
    count = math.ceil((extent - length) / step) + 1
    return tuple(min(index * step, extent - length) for index in range(count))
