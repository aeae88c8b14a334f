"""`op=shift`: shifts without weights and multiply-adds in place of spatial kernels, and grouped 1x1x1 mixes.

He et al., "AddressNet: Shift-based Primitives for Efficient Convolutional Neural Networks", WACV 2019, here
with the six directions of a volume.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.beside import beside
from app.layers.cost import Cost, strided
from app.layers.grouped import chain_cost, pointwise
from app.layers.norm import Style
from app.layers.shifts import SHIFTS, AddressShift, directions
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec

_EARLIER = Style("instance", "relu")


class ShiftConv3d(nn.Module):
    """A shift module: grouped 1x1x1, channel shift, address shift and grouped 1x1x1, then an activation.

    It maps (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up. A norm follows each 1x1x1
    convolution. The first input channels, averaged over the stride, become the first output channels (the
    shortcut shift, which is concatenated, not added).
    """

    def __init__(self, conv: ConvSpec, *, widths: Sequence[int], groups: Sequence[int], mode: str) -> None:
        super().__init__()
        expanded, made = widths
        style = conv.style or _EARLIER
        self.shortcut = conv.out_channels - made
        self.pool = (
            nn.AvgPool3d(conv.stride, conv.stride, ceil_mode=True)
            if conv.stride != (1, 1, 1)
            else nn.Identity()
        )
        turn = half_a_group(expanded, groups[0], least=0 if conv.style is None else 1)
        parts = [
            pointwise(conv.in_channels, expanded, groups=groups[0]).build(),
            *style.finish(expanded),
            nn.Identity(),  # keeps weight names of version 1, whose channel shift was here
            AddressShift(expanded, directions(conv.kernel), mode, turn),
            pointwise(expanded, made, groups=groups[1]).build(),
            style.normalise(made),
        ]
        self.branch = nn.Sequential(*parts)
        self.gate = None if conv.gate is None else conv.gate(made)
        self.activation = style.bend(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up."""
        x = self.pool(x)
        *before, norm = self.branch
        made = x
        for module in before:
            made = module(made)
        response, made = made, norm(made)
        if self.gate is not None:
            made = self.gate(made, response)
        if not self.shortcut:
            return self.activation(made)  # type: ignore[no-any-return]
        return beside(x[:, : self.shortcut], made, self.activation)


def half_a_group(channels: int, groups: int, *, least: int) -> int:
    """Return by how many channels the channel shift rotates: C / (2 groups), at least `least` if several."""
    return max(channels // (2 * groups), least) if groups > 1 else channels // 2


@dataclass(frozen=True)
class Shift(Channelwise):
    """The operator `op=shift`: shift modules, which include norm and activation."""

    channelwise_complete = True

    mode: str
    """Source of voxels at the border: zero, or address for those that follow in memory."""
    groups: int
    """Groups of the 1x1x1 convolutions; the greatest common divisor with their channels is used."""
    expansion: int
    """Channels between the 1x1x1 convolutions, as a multiple of the input's."""
    shortcut: float
    """Share of the output channels that are input channels without convolution."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.mode not in SHIFTS:
            raise InputError(f"op.mode: got {self.mode!r}, wanted one of {', '.join(SHIFTS)}")
        for name in ("groups", "expansion"):
            if getattr(self, name) < 1:
                raise InputError(f"op.{name}: got {getattr(self, name)}, wanted at least 1")
        if not 0 <= self.shortcut < 1:
            raise InputError(f"op.shortcut: got {self.shortcut}, wanted from 0 to below 1")

    def build_channelwise(self, conv: ConvSpec) -> nn.Module:
        """Build a shift module."""
        widths = self._widths(conv)
        return ShiftConv3d(conv, widths=widths[1:], groups=self._groups(widths), mode=self.mode)

    def channelwise_cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost of the two 1x1x1 convolutions after pooling; norms count as weights only."""
        widths = self._widths(conv)
        groups = self._groups(widths)
        chain = [pointwise(*pair, groups=g) for pair, g in zip(pairwise(widths), groups, strict=True)]
        style = conv.style or _EARLIER
        last = style.weights(conv.out_channels) - 2 * (conv.out_channels - widths[2])
        return chain_cost(chain, strided(size, conv.stride)) + Cost(style.weights(widths[1]) + last, 0)

    def _widths(self, conv: ConvSpec) -> tuple[int, int, int]:
        """Return the channels of the input, between the 1x1x1 convolutions, and of the branch's output."""
        kept = min(int(self.shortcut * conv.out_channels), conv.in_channels)
        return conv.in_channels, self.expansion * conv.in_channels, conv.out_channels - kept

    def _groups(self, widths: Sequence[int]) -> list[int]:
        return [math.gcd(self.groups, *pair) for pair in pairwise(widths)]
