"""ANTBlock: expand, depthwise, attention among the expanded channels, grouped linear projection.

Xiong, Kim, Hedau, "ANTNets", arXiv 1904.03775; here over volumes, with instance norms.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.connection import Connection
from app.layers.cost import Cost
from app.layers.grouped import GroupedConv, chain_cost, depthwise, pointwise
from app.layers.norm import InstanceNorm3d
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec


class ChannelAttention(nn.Module):
    """Scales each channel of (B, C, D, H, W) by a two-layer network of all channels' means."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x * self.gate(x)  # type: ignore[no-any-return]

    def connections(self) -> list[Connection]:
        """None: it scales what passes."""
        return []


class AntBlock(nn.Module):
    """Maps (B, in, D, H, W) to (B, out, D/s, H/s, W/s), rounded up; no activation at its end.

    Adds its input where neither size nor width change.
    """

    def __init__(self, conv: ConvSpec, *, expansion: int, hidden: int, groups: int) -> None:
        super().__init__()
        *before, projection = ant_chain(conv, expansion, groups)
        expanded = projection.in_channels
        steps = [(c.build(), InstanceNorm3d(expanded), nn.ReLU6(inplace=True)) for c in before]
        self.body = nn.Sequential(*(module for step in steps for module in step))
        self.attention = ChannelAttention(expanded, hidden) if hidden else nn.Identity()
        self.projection = nn.Sequential(projection.build(), InstanceNorm3d(conv.out_channels))
        self.residual = conv.stride == (1, 1, 1) and conv.in_channels == conv.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.projection(self.attention(self.body(x)))
        return x + y if self.residual else y


@dataclass(frozen=True)
class Ant(Channelwise):
    """Blocks that end with their own norm."""

    complete_apart = True

    expansion: int
    """Expanded channels as a multiple of the input's."""
    reduction: int | None
    """Expanded channels for each hidden unit of the attention; None for no attention."""
    groups: int
    """Of the projection; at most, as far as it divides its channels."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name in ("expansion", "reduction", "groups"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"op.{name}: got {value}, wanted at least 1")

    def build_apart(self, conv: ConvSpec) -> nn.Module:
        """One block."""
        return AntBlock(conv, expansion=self.expansion, hidden=self._hidden(conv), groups=self._groups(conv))

    def cost_apart(self, conv: ConvSpec, size: Size) -> Cost:
        """Convolutions, attention and norms."""
        chain = ant_chain(conv, self.expansion, self._groups(conv))
        expanded, hidden = self.expansion * conv.in_channels, self._hidden(conv)
        attention = Cost(2 * expanded * hidden + (expanded + hidden if hidden else 0), 2 * expanded * hidden)
        norms = Cost(2 * (expanded * (len(chain) - 1) + conv.out_channels), 0)
        return chain_cost(chain, size) + attention + norms

    def _groups(self, conv: ConvSpec) -> int:
        return math.gcd(self.groups, self.expansion * conv.in_channels, conv.out_channels)

    def _hidden(self, conv: ConvSpec) -> int:
        return max(1, self.expansion * conv.in_channels // self.reduction) if self.reduction else 0


def ant_chain(conv: ConvSpec, expansion: int, groups: int) -> list[GroupedConv]:
    """The block's convolutions; without expansion the first is left out.

    Raises:
        InputError: `groups` does not divide the expanded or the output channels.
    """
    expanded = expansion * conv.in_channels
    if expanded % groups or conv.out_channels % groups:
        raise InputError(
            f"{conv.name}: got {groups} groups, wanted a divisor of "
            f"{expanded} and {conv.out_channels} channels"
        )
    first = [pointwise(conv.in_channels, expanded)] if expansion > 1 else []
    last = pointwise(expanded, conv.out_channels, groups=groups)
    return [*first, depthwise(expanded, conv.kernel, conv.stride), last]
