"""Dense convolutions: over the volume (conv3d) or within slices (conv2d)."""

import math
from dataclasses import dataclass

from torch import nn

from app.core.kernel import Kernel
from app.core.types import Size, as_size
from app.ops.convolution import dense_conv
from app.ops.operator import ConvSpec, Cost, Operator


@dataclass(frozen=True)
class Conv3d(Operator):
    """3x3x3, or what the plan allows."""

    def kernel(self, conv: ConvSpec) -> Kernel:
        """What the plan says."""
        return Kernel(conv.kernel)

    def build(self, conv: ConvSpec) -> nn.Module:
        """One dense convolution."""
        return dense_conv(conv.in_channels, conv.out_channels, self.kernel(conv), conv.stride)

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """in * out * taps."""
        return dense_cost(conv.in_channels, conv.out_channels, self.kernel(conv), conv.stride, size)


@dataclass(frozen=True)
class Conv2d(Conv3d):
    """1x3x3: every slice on its own."""

    def kernel(self, conv: ConvSpec) -> Kernel:
        """Its part within slices."""
        return Kernel((1, *conv.kernel[1:]))


def dense_cost(in_channels: int, out_channels: int, kernel: Kernel, stride: Size, size: Size) -> Cost:
    """Cost of `dense_conv` on an input of `size` voxels."""
    params = in_channels * out_channels * kernel.taps
    return Cost(params, params * math.prod(strided(size, stride)))


def strided(size: Size, stride: Size) -> Size:
    """The output size of a convolution with this stride."""
    return as_size([math.ceil(n / step) for n, step in zip(size, stride, strict=True)])
