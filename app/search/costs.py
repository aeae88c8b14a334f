"""The cost of a group of channels with one kernel; a network's cost is the sum over its groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.core.kernel import Kernel
from app.layers.cost import strided
from app.operators.operator import ConvSpec

ChannelCounts = dict[str, dict[Kernel, int]]
"""Channels per kernel, by convolution."""


@dataclass(frozen=True)
class Site:
    """A convolution that is searched, and the kernels that its slots (output channels) choose between."""

    conv: ConvSpec
    kernels: tuple[Kernel, ...]
    unit: int = 1
    """Number of consecutive slots that choose the same kernel."""

    @property
    def units(self) -> list[int]:
        """The number of slots of each unit; the last one may have fewer."""
        slots = self.conv.out_channels
        return [min(self.unit, slots - start) for start in range(0, slots, self.unit)]


class CostModel(Protocol):
    """A measure of cost that is additive over groups, and zero for no channels."""

    name: str
    linear: bool
    """Whether twice the channels cost twice as much."""

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """Return the cost of `channels` output channels of a convolution with one kernel."""
        ...


@dataclass(frozen=True)
class Budget:
    """The largest cost that a layout may have."""

    costs: CostModel
    share: float
    """The largest share of the dense cost of the searched convolutions."""

    def spent(self, sites: Sequence[Site], counts: ChannelCounts) -> float:
        """Return the cost of a layout as a share of the dense cost of the searched convolutions."""
        return total_cost(sites, counts, self.costs) / dense_total(sites, self.costs)


class ParamsCost:
    """The number of weights."""

    name = "params"
    linear = True

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """Return in * channels * taps."""
        return conv.in_channels * channels * kernel.taps


class MacsCost:
    """The number of multiply-adds for one patch."""

    name = "macs"
    linear = True

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """Return in * channels * taps * voxels of the output."""
        assert conv.size is not None, "costs are counted on a network whose patch is known"
        voxels = math.prod(strided(conv.size, conv.stride))
        return conv.in_channels * channels * kernel.taps * voxels


def total_cost(sites: Sequence[Site], counts: ChannelCounts, costs: CostModel) -> float:
    """Return the cost of the searched convolutions with these channels per kernel."""
    return sum(
        costs.group(site.conv, kernel, channels)
        for site in sites
        for kernel, channels in counts[site.conv.name].items()
    )


def dense_total(sites: Sequence[Site], costs: CostModel) -> float:
    """Return the cost of the searched convolutions if they were dense; budgets are shares of it."""
    return sum(costs.group(site.conv, Kernel(site.conv.kernel), site.conv.out_channels) for site in sites)


def slot_costs(site: Site, costs: CostModel) -> list[float]:
    """Return the cost of one slot with each kernel, if all slots of the convolution have that kernel."""
    slots = site.conv.out_channels
    return [costs.group(site.conv, kernel, slots) / slots for kernel in site.kernels]
