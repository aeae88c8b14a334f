"""`op=p3d`: a convolution within slices, then one across slices (serial P3D, Qiu et al., ICCV 2017)."""

from dataclasses import dataclass

from torch import nn

from app.core.kernel import Kernel
from app.core.types import Size
from app.layers.convolution import dense_conv
from app.layers.cost import Cost, dense_cost, strided
from app.operators.operator import ConvSpec, Operator


@dataclass(frozen=True)
class P3d(Operator):
    """The operator `op=p3d`: 1x3x3 then 3x1x1; 1x3x3 alone if kernel and stride along depth are 1."""

    def build(self, conv: ConvSpec) -> nn.Module:
        """Build both; the in-plane stride is in the first, so that the second runs on a smaller volume."""
        depth, height, width = conv.kernel
        in_plane = dense_conv(
            conv.in_channels, conv.out_channels, Kernel((1, height, width)), (1, *conv.stride[1:])
        )
        if depth == 1 and conv.stride[0] == 1:
            return in_plane
        across = dense_conv(
            conv.out_channels, conv.out_channels, Kernel((depth, 1, 1)), (conv.stride[0], 1, 1)
        )
        return nn.Sequential(in_plane, across)

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of both convolutions; the second runs on the output of the first."""
        depth, height, width = conv.kernel
        stride: Size = (1, *conv.stride[1:])
        in_plane = dense_cost(conv.in_channels, conv.out_channels, Kernel((1, height, width)), stride, size)
        if depth == 1 and conv.stride[0] == 1:
            return in_plane
        left = strided(size, stride)
        across = dense_cost(
            conv.out_channels, conv.out_channels, Kernel((depth, 1, 1)), (conv.stride[0], 1, 1), left
        )
        return in_plane + across
