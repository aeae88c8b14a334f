"""Mixed convolutions (CAKES): the output channels of a convolution are divided among sub-kernels.

Yu et al., "CAKES: Channel-wise Automatic KErnel Shrinking for Efficient 3D Networks", AAAI 2021.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout
from app.core.types import Size, as_size
from app.layers.candidates import cover_of
from app.layers.convolution import conv3d, dense_conv
from app.layers.cost import Cost, dense_cost
from app.operators.operator import ConvSpec, Operator
from app.operators.plain import Conv3d


class MixedConv3d(nn.Module):
    """A 3D convolution whose output channels are divided among sub-kernels.

    It maps (B, in_channels, D, H, W) to (B, sum(groups.values()), D/s, H/s, W/s), sizes rounded up. Each
    group of output channels is a dense convolution of all input channels; groups are concatenated in order.

    If `merged` is set, all groups are computed as one dense convolution, whose weights are zero outside the
    taps of each group: more multiply-adds, but fewer passes over the input.
    """

    def __init__(self, in_channels: int, groups: Mapping[Kernel, int], stride: Size) -> None:
        super().__init__()
        self.groups = nn.ModuleList(
            dense_conv(in_channels, channels, kernel, stride) for kernel, channels in groups.items()
        )
        self.merged = False
        self._box = cover_of(tuple(groups))
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in, D, H, W) to (B, out, D/s, H/s, W/s), sizes rounded up."""
        if self.merged:
            padding = as_size([length // 2 for length in self._box])
            return conv3d(x, self.dense_weight(), stride=self._stride, padding=padding)
        if len(self.groups) == 1:
            return self.groups[0](x)  # type: ignore[no-any-return]
        return torch.cat([group(x) for group in self.groups], dim=1)

    def dense_weight(self) -> Tensor:
        """Return the weights (out, in, k, k, k) of one dense convolution with the taps of all groups."""
        return torch.cat([_in_box(group, self._box) for group in self.groups])


def _in_box(group: nn.Module, box: Size) -> Tensor:
    """Return the weights of a group in a box of zeros, with dilated taps spread out."""
    assert isinstance(group, nn.Conv3d)
    weight = group.weight
    for axis, step in enumerate(as_size(group.dilation), start=2):
        if step > 1 and weight.shape[axis] > 1:
            apart = F.pad(weight.movedim(axis, -1)[..., None], (0, step - 1)).flatten(-2)
            weight = apart[..., : 1 - step].movedim(-1, axis)
    sides = [(length - taps) // 2 for length, taps in zip(box, weight.shape[2:], strict=True)]
    return F.pad(weight, [side for side in reversed(sides) for _ in range(2)])


@dataclass(frozen=True)
class Mixed(Operator):
    """An operator that builds the convolutions of a layout as mixed convolutions and all others as dense."""

    layout: Layout

    def describe(self) -> dict[str, Any]:
        """Return the kind, and the layout as in a layout file."""
        return {"kind": type(self).__name__, "layout": self.layout.to_dict()}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Rebuild the operator from the fields of `describe`."""
        return cls(Layout.from_dict(values.get("layout"), "checkpoint"))

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """Check that the layout matches the network; return this operator.

        Raises:
            InputError: the layout has unknown convolutions or other numbers of channels; the message lists
                all differences.
        """
        specs = {conv.name: conv for conv in convolutions}
        differences = [
            f"{name}: not in this network" for name in self.layout.convolutions if name not in specs
        ]
        for name, groups in self.layout.convolutions.items():
            channels = sum(groups.values())
            if name in specs and channels != specs[name].out_channels:
                differences.append(f"{name}: {channels} channels, the network has {specs[name].out_channels}")
        if differences:
            raise InputError("op.layout is for another network: " + "; ".join(differences))
        return self

    def kernel_layout(self) -> Layout:
        """Return the layout."""
        return self.layout

    def build(self, conv: ConvSpec) -> nn.Module:
        """Build a mixed convolution if the layout has it, else a dense one."""
        groups = self.layout.convolutions.get(conv.name)
        if groups is None:
            return Conv3d().build(conv)
        return MixedConv3d(conv.in_channels, groups, conv.stride)

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost; weights are in * sum over groups of channels * taps."""
        groups = self.layout.convolutions.get(conv.name)
        if groups is None:
            return Conv3d().cost(conv, size)
        costs = [
            dense_cost(conv.in_channels, channels, kernel, conv.stride, size)
            for kernel, channels in groups.items()
        ]
        return sum(costs, start=Cost(0, 0))
