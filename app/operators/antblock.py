"""`op=antblock`: ANTBlocks (expansion, depthwise convolution, channel attention, grouped linear projection).

Xiong, Kim, Hedau, "ANTNets", arXiv 1904.03775; here for volumes, with the model's norms and activations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.types import Size
from app.layers.connection import Connection
from app.layers.cost import Cost
from app.layers.grouped import GroupedConv, chain_cost, depthwise, pointwise
from app.layers.norm import Style
from app.layers.squeeze import SQUEEZES, Squeeze
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec, of_level

_EARLIER = Style("instance", "relu6")


class ChannelAttention(nn.Module):
    """A gate that scales the channels of one volume by a two-layer network of another volume's channels."""

    def __init__(self, channels: int, hidden: int, squeeze: str = "mean") -> None:
        super().__init__()
        self.gate = nn.Sequential(
            Squeeze(squeeze),
            nn.Conv3d(SQUEEZES[squeeze] * channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Return `x`, scaled; `source` is (B, C, any size)."""
        return x * self.gate(source)  # type: ignore[no-any-return]

    def connections(self) -> list[Connection]:
        """Return no connections: a gate only scales its input."""
        return []


class AntBlock(nn.Module):
    """An ANTBlock from (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up.

    It has no activation at its end, and adds its input if neither size nor width change. The attention sees
    the depthwise convolution's output before its norm (in networks of version 1, after norm and activation).
    """

    def __init__(
        self, conv: ConvSpec, *, expansion: int, hidden: int, groups: int, squeeze: str = "mean"
    ) -> None:
        super().__init__()
        *before, projection = ant_chain(conv, expansion, groups)
        expanded, style = projection.in_channels, conv.style or _EARLIER
        self.squeezes_before_norm = conv.style is not None
        self.body = nn.Sequential(*(part for c in before for part in (c.build(), *style.finish(expanded))))
        self.attention = ChannelAttention(expanded, hidden, squeeze) if hidden else None
        self.projection = nn.Sequential(projection.build(), style.normalise(conv.out_channels))
        self.gate = None if conv.gate is None else conv.gate(conv.out_channels)
        self.residual = conv.stride == (1, 1, 1) and conv.in_channels == conv.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up."""
        *before, norm, activation = self.body
        response = x
        for module in before:
            response = module(response)
        y = activation(norm(response))
        if self.attention is not None:
            y = self.attention(y, response if self.squeezes_before_norm else y)
        response = self.projection[0](y)
        y = self.projection[1](response)
        if self.gate is not None:
            y = self.gate(y, response)
        return x + y if self.residual else y  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Ant(Channelwise):
    """The operator `op=antblock`: ANTBlocks, which include their norms."""

    channelwise_complete = True

    expansion: int | Sequence[int]
    """Expanded channels as a multiple of the input's: one number, or one per level, finest first."""
    reduction: int | Sequence[int] | None
    """Expanded channels per hidden unit of the attention, given like `expansion`; None for no attention."""
    groups: int
    """Groups of the projection; the greatest common divisor with its channels is used."""
    kernel: int | None = None
    """Taps of the depthwise convolution along axes with several taps in the plan; None: as planned."""
    squeeze: str = "mean"
    """Numbers per channel that the attention sees: mean, or moments (mean and deviation)."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name in ("expansion", "reduction", "groups", "kernel"):
            value = getattr(self, name)
            for one in value if isinstance(value, Sequence) else [value]:
                if one is not None and one < 1:
                    raise InputError(f"op.{name}: got {one}, wanted at least 1")
        if self.kernel is not None and self.kernel % 2 == 0:
            raise InputError(f"op.kernel: got {self.kernel}, wanted an odd number of taps")
        if self.squeeze not in SQUEEZES:
            raise InputError(f"op.squeeze: got {self.squeeze!r}, wanted one of {', '.join(SQUEEZES)}")

    def build_channelwise(self, conv: ConvSpec) -> nn.Module:
        """Build one block."""
        return AntBlock(
            self._with_kernel(conv),
            expansion=self._expansion(conv),
            hidden=self._hidden(conv),
            groups=self._groups(conv),
            squeeze=self.squeeze,
        )

    def channelwise_cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of convolutions, attention, norms and activations."""
        chain = ant_chain(self._with_kernel(conv), self._expansion(conv), self._groups(conv))
        expanded, hidden = chain[-1].in_channels, self._hidden(conv)
        mixed = (1 + SQUEEZES[self.squeeze]) * expanded * hidden
        attention = Cost(mixed + (expanded + hidden if hidden else 0), mixed)
        before = (len(chain) - 1) * (conv.style or _EARLIER).weights(expanded)
        return chain_cost(chain, size) + attention + Cost(before + 2 * conv.out_channels, 0)

    def _with_kernel(self, conv: ConvSpec) -> ConvSpec:
        if self.kernel is None:
            return conv
        return replace(conv, kernel=Kernel((self.kernel,) * 3).within(conv.kernel).size)

    def _expansion(self, conv: ConvSpec) -> int:
        return of_level(self.expansion, conv, "op.expansion")

    def _groups(self, conv: ConvSpec) -> int:
        return math.gcd(self.groups, self._expansion(conv) * conv.in_channels, conv.out_channels)

    def _hidden(self, conv: ConvSpec) -> int:
        reduction = of_level(self.reduction, conv, "op.reduction")
        return max(1, self._expansion(conv) * conv.in_channels // reduction) if reduction else 0


def ant_chain(conv: ConvSpec, expansion: int, groups: int) -> list[GroupedConv]:
    """Return the convolutions of an ANTBlock; with `expansion` 1 the first one is left out.

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
