"""What a group of channels with one kernel costs; a network's cost is the sum over its groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.core.kernel import Kernel
from app.ops.operator import ConvSpec
from app.ops.plain import strided


@dataclass(frozen=True)
class Site:
    """A convolution that is searched, and the kernels its slots choose between."""

    conv: ConvSpec
    kernels: tuple[Kernel, ...]


class CostModel(Protocol):
    """Additive over groups, zero for no channels."""

    unit: str
    linear: bool
    """Whether twice the channels cost twice as much."""

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """The cost of `channels` output channels of a convolution with one kernel."""
        ...


class ParamsCost:
    """Weights."""

    unit = "params"
    linear = True

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """in * channels * taps."""
        return conv.in_channels * channels * kernel.taps


class MacsCost:
    """Multiply-adds of one patch."""

    unit = "macs"
    linear = True

    def group(self, conv: ConvSpec, kernel: Kernel, channels: int) -> float:
        """in * channels * taps * voxels of the output."""
        assert conv.size is not None, "costs are counted on a network whose patch is known"
        voxels = math.prod(strided(conv.size, conv.stride))
        return conv.in_channels * channels * kernel.taps * voxels


def dense_total(sites: Sequence[Site], costs: CostModel) -> float:
    """The cost of the searched convolutions as dense ones: what a budget is a share of."""
    return sum(costs.group(site.conv, Kernel(site.conv.kernel), site.conv.out_channels) for site in sites)
