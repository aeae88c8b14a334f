"""What a group of channels with one kernel costs; a network's cost is the sum over its groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.core.kernel import Kernel
from app.layers.cost import strided
from app.operators.operator import ConvSpec

Counts = dict[str, dict[Kernel, int]]
"""Channels per kernel, by convolution."""


@dataclass(frozen=True)
class Site:
    """A convolution that is searched, and the kernels its slots choose between."""

    conv: ConvSpec
    kernels: tuple[Kernel, ...]
    unit: int = 1
    """Slots in a row that choose together."""


class CostModel(Protocol):
    """Additive over groups, zero for no channels."""

    name: str
    linear: bool
    """Whether twice the channels cost twice as much."""

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """The cost of `channels` output channels of a convolution with one kernel."""
        ...


@dataclass(frozen=True)
class Budget:
    """What a layout may cost."""

    costs: CostModel
    share: float
    """At most, of the dense cost of the searched convolutions."""

    def spent(self, sites: Sequence[Site], counts: Counts) -> float:
        """What a layout costs, as such a share."""
        return total_cost(sites, counts, self.costs) / dense_total(sites, self.costs)


class ParamsCost:
    """Weights."""

    name = "params"
    linear = True

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """in * channels * taps."""
        return conv.in_channels * channels * kernel.taps


class MacsCost:
    """Multiply-adds of one patch."""

    name = "macs"
    linear = True

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """in * channels * taps * voxels of the output."""
        assert conv.size is not None, "costs are counted on a network whose patch is known"
        voxels = math.prod(strided(conv.size, conv.stride))
        return conv.in_channels * channels * kernel.taps * voxels


def total_cost(sites: Sequence[Site], counts: Counts, costs: CostModel) -> float:
    """The cost of the searched convolutions with these counts."""
    return sum(
        costs.group(site.conv, kernel, channels)
        for site in sites
        for kernel, channels in counts[site.conv.name].items()
    )


def dense_total(sites: Sequence[Site], costs: CostModel) -> float:
    """The cost of the searched convolutions as dense ones: what a budget is a share of."""
    return sum(costs.group(site.conv, Kernel(site.conv.kernel), site.conv.out_channels) for site in sites)


def slot_costs(site: Site, costs: CostModel) -> list[float]:
    """What one slot costs with each kernel, as a part of a convolution that has no other."""
    slots = site.conv.out_channels
    return [costs.group(site.conv, kernel, slots) / slots for kernel in site.kernels]
