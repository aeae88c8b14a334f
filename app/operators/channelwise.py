"""What operators that save by keeping channels apart have in common: where there are too few, they do not."""

from abc import abstractmethod

from torch import nn

from app.core.types import Size
from app.layers.cost import Cost
from app.operators.operator import ConvSpec, Operator
from app.operators.plain import Conv3d

_FEWEST = 6  # a shift needs a channel for each direction; an image has fewer, and filters apart save nothing


class Channelwise(Operator):
    """Dense for the few channels of an image, `build_apart` for the many of a network."""

    def build(self, conv: ConvSpec) -> nn.Module:
        """Dense or apart."""
        return Conv3d().build(conv) if _few(conv) else self.build_apart(conv)

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Dense or apart."""
        return Conv3d().cost(conv, size) if _few(conv) else self.cost_apart(conv, size)

    def complete(self, conv: ConvSpec) -> bool:
        """As `complete_apart` says, where channels are kept apart."""
        return self.complete_apart and not _few(conv)

    def takes_gate(self, conv: ConvSpec) -> bool:
        """Where it brings its own norm."""
        return self.complete(conv)

    complete_apart: bool = False

    @abstractmethod
    def build_apart(self, conv: ConvSpec) -> nn.Module:
        """The module of a convolution with channels enough."""

    @abstractmethod
    def cost_apart(self, conv: ConvSpec, size: Size) -> Cost:
        """Its cost on an input of `size` voxels."""


def _few(conv: ConvSpec) -> bool:
    return conv.in_channels < _FEWEST
