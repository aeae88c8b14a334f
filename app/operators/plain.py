"""Dense convolutions: over the whole volume (conv3d) or within slices (conv2d)."""

from dataclasses import dataclass

from torch import nn

from app.core.kernel import Kernel
from app.core.types import Size
from app.layers.convolution import dense_conv
from app.layers.cost import Cost, dense_cost
from app.operators.operator import ConvSpec, Operator


@dataclass(frozen=True)
class Conv3d(Operator):
    """The operator `op=conv3d`: dense convolutions with the planned kernels, usually 3x3x3."""

    def kernel(self, conv: ConvSpec) -> Kernel:
        """Return the planned kernel."""
        return Kernel(conv.kernel)

    def build(self, conv: ConvSpec) -> nn.Module:
        """Build one dense convolution."""
        return dense_conv(conv.in_channels, conv.out_channels, self.kernel(conv), conv.stride)

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost; weights are in * out * taps."""
        return dense_cost(conv.in_channels, conv.out_channels, self.kernel(conv), conv.stride, size)


@dataclass(frozen=True)
class Conv2d(Conv3d):
    """The operator `op=conv2d`: dense convolutions within slices, usually 1x3x3."""

    def kernel(self, conv: ConvSpec) -> Kernel:
        """Return the planned kernel with one tap along depth."""
        return Kernel((1, *conv.kernel[1:]))
