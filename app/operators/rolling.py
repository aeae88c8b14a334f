"""`op=rolling`: a depthwise convolution, then a grouped or a rolling pointwise convolution.

In the rolling form each output channel mixes a window of input channels. This is the kernel of Wang et al.,
arXiv 2009.05236, as published with DSXplore (IPDPS 2021). Windows are assigned cyclically, so that a few
layers reach every channel; weights and multiply-adds are those of a grouped 1x1x1 convolution.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.connection import Connection, channel_mix
from app.layers.convolution import conv3d
from app.layers.cost import Cost, strided
from app.layers.grouped import GroupedConv, depthwise, pointwise
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec, Operator


class RollingPointwise(nn.Module):
    """A rolling pointwise convolution from (B, in_channels, D, H, W) to (B, out_channels, D, H, W).

    Output channel c mixes a window of `in_channels / groups` input channels that starts at c * step,
    cyclically. The step is the width of the window minus its overlap.
    """

    def __init__(self, in_channels: int, out_channels: int, *, groups: int, overlap: float) -> None:
        super().__init__()
        self.width = in_channels // groups
        self.step = self.width - int(overlap * self.width)
        self.windows = in_channels // math.gcd(in_channels, self.step)
        starts = torch.arange(self.windows)[:, None] * self.step
        index = (starts + torch.arange(self.width)) % in_channels
        self.register_buffer("index", index.flatten(), persistent=False)
        self.weight = nn.Parameter(torch.empty(out_channels, self.width, 1, 1, 1))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.in_channels, self.out_channels = in_channels, out_channels
        self.rounds = math.ceil(out_channels / self.windows)
        """Largest number of output channels that see the same window."""

    def forward(self, x: Tensor) -> Tensor:
        """Gather the distinct windows, convolve each as a group, and put the channels in cyclic order."""
        # Axes and sizes are explicit, as torch's ONNX export does not support negative ones here.
        windows = x.movedim(1, 4).index_select(4, self.get_buffer("index")).movedim(4, 1)
        missing = self.rounds * self.windows - self.out_channels
        weight = F.pad(self.weight, (0, 0) * 4 + (0, missing))
        weight = weight.reshape(self.rounds, self.windows, self.width, 1, 1, 1)
        mixed = conv3d(windows, weight.transpose(0, 1).flatten(0, 1), groups=self.windows)
        last = mixed.movedim(1, 4)
        by_round = last.reshape(*last.shape[:-1], self.windows, self.rounds).transpose(-1, -2)
        return by_round.flatten(-2)[..., : self.out_channels].movedim(4, 1)

    def connections(self) -> list[Connection]:
        """Return the connections: each output channel with the channels of its window."""
        starts = np.arange(self.out_channels)[:, None] * self.step
        index = (starts + np.arange(self.width)) % self.in_channels
        links = np.zeros((self.out_channels, self.in_channels), dtype=np.bool_)
        np.put_along_axis(links, index, True, axis=1)
        return [channel_mix(links)]


@dataclass(frozen=True)
class Rolling(Channelwise):
    """The operator `op=rolling`: 3x3x3 depthwise, then grouped or rolling pointwise."""

    groups: int
    """Number of groups; a window has 1 / groups of the input channels. The greatest common divisor with the
    channels is used."""
    overlap: float | None
    """Share of a window that the next one also covers; None for a grouped convolution without windows."""
    convolutions: Mapping[str, Mapping[str, Any]] | None = None
    """Groups and overlap of single convolutions by name: `encoder.0.1: {groups: 4, overlap: 0.5}`."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name, values in {"op": {}, **(self.convolutions or {})}.items():
            groups, overlap = values.get("groups", self.groups), values.get("overlap", self.overlap)
            key = name if name == "op" else f"op.convolutions.{name}"
            if set(values) - {"groups", "overlap"} or groups < 1:
                raise InputError(f"{key}.groups: got {groups} of {dict(values)}, wanted at least 1")
            if overlap is not None and not 0 <= overlap < 1:
                raise InputError(f"{key}.overlap: got {overlap}, wanted null or from 0 to below 1")

    def bind(self, convolutions: Sequence[ConvSpec]) -> Operator:
        """Check that the network has all convolutions in `convolutions`; return this operator.

        Raises:
            InputError: one is missing.
        """
        unknown = set(self.convolutions or ()) - {conv.name for conv in convolutions}
        if unknown:
            raise InputError(f"op.convolutions: got {', '.join(sorted(unknown))}, not in this network")
        return self

    def build_channelwise(self, conv: ConvSpec) -> nn.Module:
        """Build the two convolutions as a sequence."""
        return nn.Sequential(depthwise(conv.in_channels, conv.kernel, conv.stride).build(), self._mix(conv))

    def channelwise_cost(self, conv: ConvSpec, size: Size) -> Cost:
        """Return the cost; weights are in * (taps + out / groups).

        Multiply-adds include those of the last round whose results have no output channel.
        """
        filters = depthwise(conv.in_channels, conv.kernel, conv.stride).cost(size)
        with torch.device("meta"):
            mix = self._mix(conv)
        if not isinstance(mix, RollingPointwise):
            return filters + self._grouped(conv).cost(strided(size, conv.stride))
        voxels = math.prod(strided(size, conv.stride))
        return filters + Cost(conv.out_channels * mix.width, voxels * mix.rounds * mix.windows * mix.width)

    def _mix(self, conv: ConvSpec) -> nn.Module:
        groups, overlap = self._of(conv)
        if overlap is None:
            return self._grouped(conv).build()
        groups = math.gcd(groups, conv.in_channels)
        return RollingPointwise(conv.in_channels, conv.out_channels, groups=groups, overlap=overlap)

    def _grouped(self, conv: ConvSpec) -> GroupedConv:
        groups = math.gcd(self._of(conv)[0], conv.in_channels, conv.out_channels)
        return pointwise(conv.in_channels, conv.out_channels, groups=groups)

    def _of(self, conv: ConvSpec) -> tuple[int, float | None]:
        """Return groups and overlap of a convolution."""
        own = (self.convolutions or {}).get(conv.name, {})
        return own.get("groups", self.groups), own.get("overlap", self.overlap)
