"""The DiCE unit and the blocks of DiCENet that contain it, for volumes.

Mehta et al., "DiCENet: Dimension-wise Convolutions for Efficient Networks", TPAMI 44(5), 2022. A unit is
built for a nominal size; its cost is computed for an output of any `size` in voxels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from app.core.types import Size, as_size
from app.layers.connection import Connection
from app.layers.cost import Cost, strided
from app.layers.dimensionwise import BRANCHES, DimensionwiseConv
from app.layers.grouped import GroupedConv, depthwise, pointwise
from app.layers.norm import Style
from app.layers.shifts import ChannelShuffle
from app.layers.squeeze import SQUEEZES, Squeeze

_EARLIER = Style("instance", "prelu")


@dataclass(frozen=True)
class DiceSpec:
    """The settings of a DiCE unit from `in_channels` to `out_channels`, built for volumes of `size`."""

    in_channels: int
    out_channels: int
    kernel: Size
    size: Size
    reduction: int
    """Input channels per hidden unit of the gate."""
    squeeze: str = "mean"
    style: Style | None = None
    """Norm and activation; None: as in networks of version 1, see `app.models.model.VERSION`."""
    gate: Callable[[int], nn.Module] | None = None
    """A function that builds a second gate, applied after the unit's own."""

    @property
    def finish(self) -> Style:
        """The norm and activation of the unit."""
        return self.style or _EARLIER

    @property
    def hidden(self) -> int:
        """Number of hidden units of the gate."""
        return max(1, self.in_channels // self.reduction)

    def local(self) -> GroupedConv:
        """Return the convolution that mixes the branches of each channel."""
        return GroupedConv(BRANCHES * self.in_channels, self.in_channels, (1, 1, 1), groups=self.in_channels)

    def projection(self) -> GroupedConv:
        """Return the convolution that mixes channels."""
        groups = math.gcd(self.in_channels, self.out_channels)
        return GroupedConv(self.in_channels, self.out_channels, self.kernel, groups=groups)

    def cost(self, size: Size) -> Cost:
        """Return the cost of branches, fusions, gate, norms and activations on `size` voxels.

        A branch over a spatial axis always computes at its nominal length.
        """
        channels, voxels, taps = self.in_channels, math.prod(size), math.prod(self.kernel)
        total = Cost(taps * channels, voxels * taps * channels)
        for axis in range(3):
            along = taps // self.kernel[axis] * max(self.kernel) * self.size[axis]
            total += Cost(along, along * (voxels // size[axis] * channels))
        total += self.local().cost(size) + self.projection().cost(size)
        gate = self.hidden * (SQUEEZES[self.squeeze] * channels + self.out_channels)
        finishes = sum(map(self.finish.weights, (BRANCHES * channels, channels, self.out_channels)))
        return total + Cost(gate + finishes, gate)


class DiceUnit(nn.Module):
    """A DiCE unit from (B, in, D, H, W) to (B, out, D, H, W).

    Local fusion mixes the four branches of each channel. Global fusion mixes channels by a grouped kernel and
    scales each by a gate. The gate sees all channels of the local fusion before its norm (in networks of
    version 1, after norm and activation).
    """

    def __init__(self, spec: DiceSpec) -> None:
        super().__init__()
        channels, style = spec.in_channels, spec.finish
        self.squeezes_before_norm = spec.style is not None
        self.dimensionwise = nn.Sequential(
            DimensionwiseConv(channels, spec.kernel, spec.size), *style.finish(BRANCHES * channels)
        )
        self.local = nn.Sequential(spec.local().build(), *style.finish(channels))
        self.gate = DiceGate(channels, spec.hidden, spec.out_channels, spec.squeeze)
        self.projection = nn.Sequential(spec.projection().build(), *style.finish(spec.out_channels))
        self.attention = None if spec.gate is None else spec.gate(spec.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, D, H, W)."""
        local, norm, activation = self.local
        response = local(self.dimensionwise(x))
        fused = activation(norm(response))
        project, norm, activation = self.projection
        projected = project(fused)
        y = self.gate(activation(norm(projected)), response if self.squeezes_before_norm else fused)
        return y if self.attention is None else self.attention(y, projected)  # type: ignore[no-any-return]


class DiceGate(nn.Module):
    """A gate that scales the channels of one volume by a two-layer network of another volume's channels."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int, squeeze: str = "mean") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Squeeze(squeeze),
            nn.Conv3d(SQUEEZES[squeeze] * in_channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv3d(hidden, out_channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Return `x`, scaled; `source` is (B, in_channels, any size)."""
        return x * self.layers(source)  # type: ignore[no-any-return]

    def connections(self) -> list[Connection]:
        """Return no connections: a gate only scales its input."""
        return []


class BypassDice(nn.Module):
    """DiCENet's block from (B, in, D, H, W) to (B, out, D, H, W).

    Half of the input channels pass unchanged; the others go through a 1x1x1 convolution and a DiCE unit. Both
    are then shuffled, so that either half of the next block's input has channels of both.
    """

    def __init__(self, spec: DiceSpec) -> None:
        super().__init__()
        self.kept = bypassed(spec)
        mix, unit = _bypass(spec, self.kept)
        finish = spec.finish.finish(mix.out_channels)
        self.right = nn.Sequential(mix.build(), *finish, DiceUnit(unit))
        self.shuffle = ChannelShuffle(spec.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, D, H, W)."""
        right = self.right(x[:, self.kept :])
        return self.shuffle(torch.cat([x[:, : self.kept], right], dim=1))  # type: ignore[no-any-return]


class StridedDice(nn.Module):
    """DiCENet's strided unit from (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up.

    The left branch is a depthwise convolution with the stride, then a 1x1x1 convolution. The right branch is
    an average over three voxels along each strided axis, a DiCE unit and a 1x1x1 convolution. Each gives half
    of the output channels; both are then shuffled.
    """

    def __init__(self, spec: DiceSpec, stride: Size) -> None:
        super().__init__()
        filters, *mixes = _strided(spec, stride)
        window = as_size([3 if step > 1 else 1 for step in stride])
        pool = nn.AvgPool3d(window, stride, as_size([n // 2 for n in window]))
        left, right = ([mix.build(), *spec.finish.finish(mix.out_channels)] for mix in mixes)
        self.left = nn.Sequential(filters.build(), *spec.finish.finish(spec.in_channels), *left)
        self.right = nn.Sequential(pool, DiceUnit(_within(spec, spec.in_channels)), *right)
        self.shuffle = ChannelShuffle(spec.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up."""
        return self.shuffle(torch.cat([self.left(x), self.right(x)], dim=1))  # type: ignore[no-any-return]


def bypassed(spec: DiceSpec) -> int:
    """Return the number of channels that pass a `BypassDice` unchanged."""
    return min(spec.in_channels // 2, spec.out_channels // 2)


def bypass_cost(spec: DiceSpec, size: Size) -> Cost:
    """Return the cost of a `BypassDice`."""
    mix, unit = _bypass(spec, bypassed(spec))
    return mix.cost(size) + Cost(spec.finish.weights(mix.out_channels), 0) + unit.cost(size)


def strided_cost(spec: DiceSpec, stride: Size, size: Size) -> Cost:
    """Return the cost of a `StridedDice` whose input has `size` voxels."""
    filters, *mixes = _strided(spec, stride)
    left = strided(size, stride)
    finishes = [spec.in_channels, *(mix.out_channels for mix in mixes)]
    costs = [
        filters.cost(size),
        _within(spec, spec.in_channels).cost(left),
        *(mix.cost(left) for mix in mixes),
    ]
    return sum(costs, start=Cost(sum(map(spec.finish.weights, finishes)), 0))


def _bypass(spec: DiceSpec, kept: int) -> tuple[GroupedConv, DiceSpec]:
    """Return the 1x1x1 convolution and the unit for the channels that do not pass unchanged."""
    made = spec.out_channels - kept
    return pointwise(spec.in_channels - kept, made), _within(spec, made)


def _strided(spec: DiceSpec, stride: Size) -> tuple[GroupedConv, GroupedConv, GroupedConv]:
    """Return the depthwise convolution of the left branch and the 1x1x1 convolutions of both branches."""
    half = spec.out_channels // 2
    filters = depthwise(spec.in_channels, spec.kernel, stride)
    left, right = pointwise(spec.in_channels, spec.out_channels - half), pointwise(spec.in_channels, half)
    return filters, left, right


def _within(spec: DiceSpec, channels: int) -> DiceSpec:
    """Return the unit inside a block, with the same number of input and output channels."""
    return replace(spec, in_channels=channels, out_channels=channels)
