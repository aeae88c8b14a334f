"""Dense convolutions: over the volume (conv3d) or within slices (conv2d)."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.core.types import Size, as_size
from app.ops.operator import ConvSpec, Cost, Operator


@dataclass(frozen=True)
class Conv3d(Operator):
    """3x3x3, or what the plan allows."""

    def build(self, conv: ConvSpec) -> nn.Module:
        """One dense convolution."""
        return dense_conv(conv.in_channels, conv.out_channels, Kernel(conv.kernel), conv.stride)

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """in * out * taps."""
        return dense_cost(conv.in_channels, conv.out_channels, Kernel(conv.kernel), conv.stride, size)


@dataclass(frozen=True)
class Conv2d(Operator):
    """1x3x3: every slice on its own."""

    def build(self, conv: ConvSpec) -> nn.Module:
        """One dense convolution within slices."""
        return dense_conv(conv.in_channels, conv.out_channels, _in_plane(conv.kernel), conv.stride)

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """in * out * taps of the slice."""
        return dense_cost(conv.in_channels, conv.out_channels, _in_plane(conv.kernel), conv.stride, size)


def dense_conv(in_channels: int, out_channels: int, kernel: Kernel, stride: Size) -> nn.Conv3d:
    """A convolution without bias that keeps the size, but for the stride, rounded up."""
    padding = as_size([voxels // 2 for voxels in kernel.extent])
    along_depth = kernel.size[0] > 1 and kernel.size[1:] == (1, 1) and stride == (1, 1, 1)
    cls = DepthConv3d if along_depth and in_channels > 1 else nn.Conv3d
    return cls(in_channels, out_channels, kernel.size, stride, padding, dilation=kernel.dilation, bias=False)


class DepthConv3d(nn.Conv3d):
    """k x 1 x 1 with stride 1, as 1 x k x 1 on volumes whose height and width are seen as one axis.

    Torch (2.13) gives a convolution without taps in height and width to a plain loop where it has one
    thread, at ten times the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D, H, W)."""
        flat = x.flatten(3).unsqueeze(2)
        padding, dilation = (0, int(self.padding[0]), 0), (1, self.dilation[0], 1)
        y = F.conv3d(flat, self.weight.transpose(2, 3), self.bias, 1, padding, dilation)
        return y.view(*y.shape[:2], *x.shape[2:])


def dense_cost(in_channels: int, out_channels: int, kernel: Kernel, stride: Size, size: Size) -> Cost:
    """Cost of `dense_conv` on an input of `size` voxels."""
    params = in_channels * out_channels * kernel.taps
    return Cost(params, params * math.prod(strided(size, stride)))


def strided(size: Size, stride: Size) -> Size:
    """The output size of a convolution with this stride."""
    return as_size([math.ceil(n / step) for n, step in zip(size, stride, strict=True)])


def _in_plane(kernel: Size) -> Kernel:
    return Kernel((1, kernel[1], kernel[2]))
