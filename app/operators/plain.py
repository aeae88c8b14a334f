"""Dense convolutions: over the volume (conv3d) or within slices (conv2d)."""

from dataclasses import dataclass

from torch import nn

from app.core.kernel import Kernel
from app.core.types import Size
from app.layers.convolution import dense_conv
from app.layers.cost import Cost, dense_cost
from app.operators.operator import ConvSpec, Operator


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
