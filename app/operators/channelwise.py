"""The base of operators that process channels separately, except with few channels."""

from abc import abstractmethod

from torch import nn

from app.core.types import Size
from app.layers.cost import Cost
from app.operators.operator import ConvSpec, Operator
from app.operators.plain import Conv3d

_FEWEST = 6  # a shift needs one channel per direction; with fewer, separate filters save nothing


class Channelwise(Operator):
    """A base class of operators that use a dense convolution for few input channels."""

    def build(self, conv: ConvSpec) -> nn.Module:
        """Build a dense convolution for few input channels, else the module of `build_channelwise`."""
        return Conv3d().build(conv) if _few(conv) else self.build_channelwise(conv)

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of a dense convolution for few input channels, else that of `channelwise_cost`."""
        return Conv3d().cost(conv, size) if _few(conv) else self.channelwise_cost(conv, size)

    def complete(self, conv: ConvSpec) -> bool:
        """Return whether the module includes norm and activation; a dense convolution does not."""
        return self.channelwise_complete and not _few(conv)

    def takes_gate(self, conv: ConvSpec) -> bool:
        """Return whether the module applies the gate: if it includes its norm."""
        return self.complete(conv)

    channelwise_complete: bool = False
    """Whether the modules of `build_channelwise` include norm and activation."""

    @abstractmethod
    def build_channelwise(self, conv: ConvSpec) -> nn.Module:
        """Build the module of a convolution that has enough input channels."""

    @abstractmethod
    def channelwise_cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of that module on an input of `size` voxels."""


def _few(conv: ConvSpec) -> bool:
    return conv.in_channels < _FEWEST
