"""Grouped convolutions, alone and in chains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from app.core.types import Size, as_size
from app.layers.convolution import FastConv3d
from app.layers.cost import Cost, strided


@dataclass(frozen=True)
class GroupedConv:
    """A convolution of `groups` groups without bias; sizes are divided by the stride and rounded up."""

    in_channels: int
    out_channels: int
    kernel: Size
    stride: Size = (1, 1, 1)
    groups: int = 1

    def build(self) -> nn.Conv3d:
        """Build the convolution with new weights."""
        padding = as_size([taps // 2 for taps in self.kernel])
        return FastConv3d(
            *(self.in_channels, self.out_channels, self.kernel, self.stride, padding),
            groups=self.groups,
            bias=False,
        )

    def cost(self, size: Size) -> Cost:
        """Return the cost on an input of `size` voxels."""
        params = self.in_channels * self.out_channels * math.prod(self.kernel) // self.groups
        return Cost(params, params * math.prod(strided(size, self.stride)))


def depthwise(channels: int, kernel: Size, stride: Size, *, multiplier: int = 1) -> GroupedConv:
    """Return a depthwise convolution with `multiplier` filters per channel.

    Its output channel `channel * multiplier + filter` comes from that channel and filter.
    """
    return GroupedConv(channels, channels * multiplier, kernel, stride, groups=channels)


def pointwise(in_channels: int, out_channels: int, *, groups: int = 1) -> GroupedConv:
    """Return a 1x1x1 convolution."""
    return GroupedConv(in_channels, out_channels, (1, 1, 1), groups=groups)


def build_chain(chain: Sequence[GroupedConv]) -> nn.Sequential:
    """Build the convolutions as a sequence, with nothing in between."""
    return nn.Sequential(*(conv.build() for conv in chain))


def chain_cost(chain: Sequence[GroupedConv], size: Size) -> Cost:
    """Return the total cost of a chain on an input of `size` voxels."""
    total = Cost(0, 0)
    for conv in chain:
        total += conv.cost(size)
        size = strided(size, conv.stride)
    return total
