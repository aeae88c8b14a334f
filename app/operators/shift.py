"""Shifts in place of spatial kernels: no weight, no multiply-add; grouped 1x1x1 convolutions do the rest.

He et al., "AddressNet: Shift-based Primitives for Efficient Convolutional Neural Networks", WACV 2019, here
over the six directions of a volume.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.cost import Cost, strided
from app.layers.grouped import chain_cost, pointwise
from app.layers.norm import InstanceNorm3d
from app.layers.shifts import SHIFTS, AddressShift, ChannelShift, directions
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec


class ShiftConv3d(nn.Module):
    """Grouped 1x1x1, channel shift, address shift, grouped 1x1x1, each mix with a norm; then ReLU.

    Maps (B, in, D, H, W) to (B, out, D/s, H/s, W/s), rounded up. The first input channels, averaged over
    the stride, become the first output channels (the shortcut shift: beside, not added).
    """

    def __init__(self, conv: ConvSpec, *, widths: Sequence[int], groups: Sequence[int], mode: str) -> None:
        super().__init__()
        expanded, made = widths
        self.shortcut = conv.out_channels - made
        self.pool = (
            nn.AvgPool3d(conv.stride, conv.stride, ceil_mode=True)
            if conv.stride != (1, 1, 1)
            else nn.Identity()
        )
        self.branch = nn.Sequential(
            pointwise(conv.in_channels, expanded, groups=groups[0]).build(),
            InstanceNorm3d(expanded),
            nn.ReLU(inplace=True),
            ChannelShift(expanded, groups[0]),
            AddressShift(expanded, directions(conv.kernel), mode),
            pointwise(expanded, made, groups=groups[1]).build(),
            InstanceNorm3d(made),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.pool(x)
        made = self.branch(x)
        if self.shortcut:
            made = torch.cat([x[:, : self.shortcut], made], dim=1)
        return torch.relu(made)


@dataclass(frozen=True)
class Shift(Channelwise):
    """Shift modules that end with their own norm and ReLU."""

    complete_apart = True

    mode: str
    """zero or address: what moves in at the border."""
    groups: int
    """Of the 1x1x1 convolutions; at most, as far as it divides their channels."""
    expansion: int
    """Channels between them, as a multiple of the input's."""
    shortcut: float
    """Share of the output channels that are the input's, unchanged."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.mode not in SHIFTS:
            raise InputError(f"op.mode: got {self.mode!r}, wanted one of {', '.join(SHIFTS)}")
        for name in ("groups", "expansion"):
            if getattr(self, name) < 1:
                raise InputError(f"op.{name}: got {getattr(self, name)}, wanted at least 1")
        if not 0 <= self.shortcut < 1:
            raise InputError(f"op.shortcut: got {self.shortcut}, wanted from 0 to below 1")

    def build_apart(self, conv: ConvSpec) -> nn.Module:
        """A shift module."""
        widths = self._widths(conv)
        return ShiftConv3d(conv, widths=widths[1:], groups=self._groups(widths), mode=self.mode)

    def cost_apart(self, conv: ConvSpec, size: Size) -> Cost:
        """The two 1x1x1 convolutions, after pooling; norms have weights but no multiply-adds here."""
        widths = self._widths(conv)
        groups = self._groups(widths)
        chain = [pointwise(*pair, groups=g) for pair, g in zip(pairwise(widths), groups, strict=True)]
        return chain_cost(chain, strided(size, conv.stride)) + Cost(2 * sum(widths[1:]), 0)

    def _widths(self, conv: ConvSpec) -> tuple[int, int, int]:
        """Channels that go in, in between, and that come out beside the shortcut."""
        kept = min(int(self.shortcut * conv.out_channels), conv.in_channels)
        return conv.in_channels, self.expansion * conv.in_channels, conv.out_channels - kept

    def _groups(self, widths: Sequence[int]) -> list[int]:
        return [math.gcd(self.groups, *pair) for pair in pairwise(widths)]
