"""`op=dwsep`: depthwise separable convolutions, filters per channel then a mix (Sifre 2014; Chollet 2017)."""

from dataclasses import dataclass

from torch import nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.cost import Cost
from app.layers.grouped import GroupedConv, build_chain, chain_cost, depthwise, pointwise
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec


@dataclass(frozen=True)
class DepthwiseSeparable(Channelwise):
    """The operator `op=dwsep`: 3x3x3 depthwise, then 1x1x1, with nothing in between."""

    multiplier: int
    """Number of filters per input channel."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.multiplier < 1:
            raise InputError(f"op.multiplier: got {self.multiplier}, wanted at least 1")

    def build_channelwise(self, conv: ConvSpec) -> nn.Module:
        """Build the two convolutions as a sequence."""
        return build_chain(self._chain(conv))

    def channelwise_cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost; weights are multiplier * in * (taps + out)."""
        return chain_cost(self._chain(conv), size)

    def _chain(self, conv: ConvSpec) -> list[GroupedConv]:
        filters = depthwise(conv.in_channels, conv.kernel, conv.stride, multiplier=self.multiplier)
        return [filters, pointwise(filters.out_channels, conv.out_channels)]
