"""Convolutions that keep groups of channels apart, alone and one after another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from app.core.types import Size, as_size
from app.layers.convolution import FastConv3d
from app.layers.cost import Cost, strided


@dataclass(frozen=True)
class GroupedConv:
    """A convolution of `groups` groups, without bias, that keeps the size but for the stride, rounded up."""

    in_channels: int
    out_channels: int
    kernel: Size
    stride: Size = (1, 1, 1)
    groups: int = 1

    def build(self) -> nn.Conv3d:
        """With fresh weights."""
        padding = as_size([taps // 2 for taps in self.kernel])
        return FastConv3d(
            *(self.in_channels, self.out_channels, self.kernel, self.stride, padding),
            groups=self.groups,
            bias=False,
        )

    def cost(self, size: Size) -> Cost:
        """On an input of `size` voxels."""
        params = self.in_channels * self.out_channels * math.prod(self.kernel) // self.groups
        return Cost(params, params * math.prod(strided(size, self.stride)))


def depthwise(channels: int, kernel: Size, stride: Size, *, multiplier: int = 1) -> GroupedConv:
    """`multiplier` filters for each channel; output channel `channel * multiplier + filter`."""
    return GroupedConv(channels, channels * multiplier, kernel, stride, groups=channels)


def pointwise(in_channels: int, out_channels: int, *, groups: int = 1) -> GroupedConv:
    """A 1x1x1 convolution."""
    return GroupedConv(in_channels, out_channels, (1, 1, 1), groups=groups)


def build_chain(chain: Sequence[GroupedConv]) -> nn.Sequential:
    """One convolution after another, nothing in between."""
    return nn.Sequential(*(conv.build() for conv in chain))


def chain_cost(chain: Sequence[GroupedConv], size: Size) -> Cost:
    """Of all, each on what the one before leaves of `size` voxels."""
    total = Cost(0, 0)
    for conv in chain:
        total += conv.cost(size)
        size = strided(size, conv.stride)
    return total
