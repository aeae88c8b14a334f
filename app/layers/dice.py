"""The DiCE unit and the blocks of DiCENet around it.

Mehta et al., "DiCENet: Dimension-wise Convolutions for Efficient Networks", TPAMI 44(5), 2022; here over
volumes. Each part declares what it costs on an output of `size` voxels, made for a nominal size.
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
    """A DiCE unit of `in_channels` -> `out_channels`, made for volumes of `size`."""

    in_channels: int
    out_channels: int
    kernel: Size
    size: Size
    reduction: int
    """Input channels for each hidden unit of the gate."""
    squeeze: str = "mean"
    style: Style | None = None
    """None: as in networks of version 1, see `app.models.model.VERSION`."""
    gate: Callable[[int], nn.Module] | None = None
    """A further gate, behind the unit's own."""

    @property
    def finish(self) -> Style:
        """Norm and activation."""
        return self.style or _EARLIER

    @property
    def hidden(self) -> int:
        """Hidden units of the gate."""
        return max(1, self.in_channels // self.reduction)

    def local(self) -> GroupedConv:
        """Mixes the branches of each channel."""
        return GroupedConv(BRANCHES * self.in_channels, self.in_channels, (1, 1, 1), groups=self.in_channels)

    def projection(self) -> GroupedConv:
        """Mixes channels."""
        groups = math.gcd(self.in_channels, self.out_channels)
        return GroupedConv(self.in_channels, self.out_channels, self.kernel, groups=groups)

    def cost(self, size: Size) -> Cost:
        """Branches, fusions, gate, norms and activations; a resized branch computes at its own length."""
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
    """Maps (B, in, D, H, W) to (B, out, D, H, W).

    Local fusion mixes the four branches of each channel; global fusion mixes channels by a grouped kernel and
    scales each by a gate that sees all channels of the local fusion, before its norm (in networks of version
    1 after norm and activation).
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
        """See the class."""
        local, norm, activation = self.local
        response = local(self.dimensionwise(x))
        fused = activation(norm(response))
        project, norm, activation = self.projection
        projected = project(fused)
        y = self.gate(activation(norm(projected)), response if self.squeezes_before_norm else fused)
        return y if self.attention is None else self.attention(y, projected)  # type: ignore[no-any-return]


class DiceGate(nn.Module):
    """Scales channels of one volume by a two-layer network of what another volume's channels show."""

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
        """Shape of `x`; `source` is (B, in_channels, any size)."""
        return x * self.layers(source)  # type: ignore[no-any-return]

    def connections(self) -> list[Connection]:
        """None: it scales what passes."""
        return []


class BypassDice(nn.Module):
    """DiCENet's block (B, in, D, H, W) -> (B, out, D, H, W).

    Half of the input channels pass unchanged; the rest go through 1x1x1 and a DiCE unit; then both are
    shuffled, so that the next block has some of each in either half.
    """

    def __init__(self, spec: DiceSpec) -> None:
        super().__init__()
        self.kept = bypassed(spec)
        mix, unit = _bypass(spec, self.kept)
        finish = spec.finish.finish(mix.out_channels)
        self.right = nn.Sequential(mix.build(), *finish, DiceUnit(unit))
        self.shuffle = ChannelShuffle(spec.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        right = self.right(x[:, self.kept :])
        return self.shuffle(torch.cat([x[:, : self.kept], right], dim=1))  # type: ignore[no-any-return]


class StridedDice(nn.Module):
    """DiCENet's strided unit (B, in, D, H, W) -> (B, out, D/s, H/s, W/s), rounded up.

    Left: a depthwise convolution with the stride, then 1x1x1. Right: averages of three voxels along each
    strided axis, a DiCE unit, 1x1x1. Each makes half of the output; then both are shuffled.
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
        """See the class."""
        return self.shuffle(torch.cat([self.left(x), self.right(x)], dim=1))  # type: ignore[no-any-return]


def bypassed(spec: DiceSpec) -> int:
    """Return how many channels pass a block unchanged."""
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
    """The 1x1x1 and the unit of the channels that do not pass."""
    made = spec.out_channels - kept
    return pointwise(spec.in_channels - kept, made), _within(spec, made)


def _strided(spec: DiceSpec, stride: Size) -> tuple[GroupedConv, GroupedConv, GroupedConv]:
    """The filters of the left branch, and the 1x1x1 of the left and the right one."""
    half = spec.out_channels // 2
    filters = depthwise(spec.in_channels, spec.kernel, stride)
    left, right = pointwise(spec.in_channels, spec.out_channels - half), pointwise(spec.in_channels, half)
    return filters, left, right


def _within(spec: DiceSpec, channels: int) -> DiceSpec:
    """The unit inside a block: as many channels as it gets."""
    return replace(spec, in_channels=channels, out_channels=channels)
