"""The DiCE unit: dimension-wise convolution, then dimension-wise fusion (Mehta et al., TPAMI 44(5), 2022)."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.connection import Connection
from app.layers.cost import Cost, strided
from app.layers.dimensionwise import BRANCHES, DimensionwiseConv
from app.layers.grouped import GroupedConv
from app.layers.norm import InstanceNorm3d
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec


class DiceUnit(nn.Module):
    """Maps (B, in, D, H, W) to (B, out, D, H, W); `size` is the (D, H, W) it is made for.

    Local fusion mixes the four branches of each channel; global fusion mixes channels by a grouped kernel
    and scales each by a gate of all channels' means.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Size, size: Size, *, hidden: int) -> None:
        super().__init__()
        self.dimensionwise = nn.Sequential(
            DimensionwiseConv(in_channels, kernel, size), *_norm(BRANCHES * in_channels)
        )
        self.local = nn.Sequential(_local(in_channels).build(), *_norm(in_channels))
        self.gate = DiceGate(in_channels, hidden, out_channels)
        self.projection = nn.Sequential(
            _projection(in_channels, out_channels, kernel).build(), *_norm(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        fused = self.local(self.dimensionwise(x))
        return self.gate(self.projection(fused), fused)  # type: ignore[no-any-return]


class DiceGate(nn.Module):
    """Scales channels of one volume by a two-layer network of another volume's channel means."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(in_channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv3d(hidden, out_channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Shape of `x`."""
        return x * self.layers(source)  # type: ignore[no-any-return]

    def connections(self) -> list[Connection]:
        """None: it scales what passes."""
        return []


@dataclass(frozen=True)
class DiceNet(Channelwise):
    """Units that end with their own norm, activation and gate; stride by averaging before the unit."""

    complete_apart = True

    reduction: int
    """Input channels for each hidden unit of the gate."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.reduction < 1:
            raise InputError(f"op.reduction: got {self.reduction}, wanted at least 1")

    def build_apart(self, conv: ConvSpec) -> nn.Module:
        """A unit for the size the network sees a patch at."""
        size = strided(_nominal(conv), conv.stride)
        unit = DiceUnit(conv.in_channels, conv.out_channels, conv.kernel, size, hidden=self._hidden(conv))
        if conv.stride == (1, 1, 1):
            return unit
        return nn.Sequential(nn.AvgPool3d(conv.stride, conv.stride, ceil_mode=True), unit)

    def cost_apart(self, conv: ConvSpec, size: Size) -> Cost:
        """Branches, fusions, gate, norms and activations; a resized branch computes at its own length."""
        left, nominal = strided(size, conv.stride), strided(_nominal(conv), conv.stride)
        voxels, hidden = math.prod(left), self._hidden(conv)
        branches = Cost(
            math.prod(conv.kernel) * conv.in_channels, voxels * math.prod(conv.kernel) * conv.in_channels
        )
        for axis in range(3):
            taps = math.prod(conv.kernel) // conv.kernel[axis] * max(conv.kernel)
            slice_voxels = voxels // left[axis] * conv.in_channels
            branches += Cost(taps * nominal[axis], taps * nominal[axis] * slice_voxels)
        fusion = _local(conv.in_channels).cost(left) + _projection(
            conv.in_channels, conv.out_channels, conv.kernel
        ).cost(left)
        gate = Cost(*[hidden * (conv.in_channels + conv.out_channels)] * 2)
        norms = Cost(3 * (BRANCHES * conv.in_channels + conv.in_channels + conv.out_channels), 0)
        return branches + fusion + gate + norms

    def _hidden(self, conv: ConvSpec) -> int:
        return max(1, conv.in_channels // self.reduction)


def _nominal(conv: ConvSpec) -> Size:
    if conv.size is None:
        raise InputError(f"{conv.name}: op=dicenet is made for one size of patch, and none is planned")
    return conv.size


def _local(channels: int) -> GroupedConv:
    return GroupedConv(BRANCHES * channels, channels, (1, 1, 1), groups=channels)


def _projection(in_channels: int, out_channels: int, kernel: Size) -> GroupedConv:
    return GroupedConv(in_channels, out_channels, kernel, groups=math.gcd(in_channels, out_channels))


def _norm(channels: int) -> list[nn.Module]:
    return [InstanceNorm3d(channels), nn.PReLU(channels)]
