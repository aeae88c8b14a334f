"""Dimension-wise convolutions: depthwise convolutions with channels, depth, height or width as channel axis.

Mehta et al., "DiCENet: Dimension-wise Convolutions for Efficient Networks", TPAMI 44(5), 2022, with depth as
a fourth dimension.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.types import Size, as_size
from app.layers.connection import Connection
from app.layers.grouped import depthwise

BRANCHES = 4


class DimensionwiseConv(nn.Module):
    """A layer from (B, C, D, H, W) to (B, 4C, D, H, W) with four branches: over C, D, H and W.

    Output channel 4c + b is channel c of branch b. In a branch over a spatial axis each slice has its own
    kernel, so the number of slices is fixed by `size`. A volume of another length is resized along that axis
    for the branch, and the branch's output is resized back.
    """

    def __init__(self, channels: int, kernel: Size, size: Size) -> None:
        super().__init__()
        self.channels, self.kernel, self.size = channels, kernel, size
        self.volume = depthwise(channels, kernel, (1, 1, 1)).build()
        self.slices = nn.ModuleList(
            depthwise(size[axis], self._slice_kernel(axis), (1, 1, 1)).build() for axis in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, D, H, W) to (B, 4C, D, H, W)."""
        branches = [self.volume(x), *(self._branch(x, axis) for axis in range(3))]
        last = torch.stack([branch.movedim(1, 4) for branch in branches], dim=-1)  # (B, D, H, W, C, 4)
        return last.flatten(-2).movedim(4, 1)

    def _branch(self, x: Tensor, axis: int) -> Tensor:
        """Convolve with slices along `axis` of (D, H, W) as channels, over channels and the other axes."""
        sized = resize_axis(x, axis, self.size[axis])
        convolved = self.slices[axis](sized.transpose(1, axis + 2)).transpose(1, axis + 2)
        return resize_axis(convolved, axis, x.shape[axis + 2])

    def _slice_kernel(self, axis: int) -> Size:
        """Return the kernel of a branch; along `axis`, where the channels are, its taps are over channels."""
        taps = list(self.kernel)
        taps[axis] = max(self.kernel)
        return as_size(taps)

    def connections(self) -> list[Connection]:
        """Return the connections: branch C sees its own channel, the others one slice of nearby channels."""
        reach = max(self.kernel) // 2
        own = np.eye(self.channels, dtype=np.bool_)
        near = np.abs(np.subtract.outer(np.arange(self.channels), np.arange(self.channels))) <= reach
        extent = np.array(self.kernel) // 2
        extents = [extent, *(np.where(np.arange(3) == axis, 0, extent) for axis in range(3))]
        links = np.stack([own, near, near, near], axis=1).reshape(-1, self.channels)
        high = np.tile(np.stack(extents), (self.channels, 1))
        return [Connection(links, -high, high)]


def resize_axis(x: Tensor, axis: int, length: int) -> Tensor:
    """Return (B, C, D, H, W) with one axis of (D, H, W) resized: linear interpolation up, averages down."""
    size = list(x.shape[2:])
    if size[axis] == length:
        return x
    longer = size[axis] < length
    size[axis] = length
    if longer:
        return F.interpolate(x, size, mode="trilinear", align_corners=True)
    return F.adaptive_avg_pool3d(x, as_size(size))
