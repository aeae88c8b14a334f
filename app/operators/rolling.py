"""Depthwise, then rolling pointwise: each output channel mixes a window of input channels that rolls on.

The kernel of Wang et al., arXiv 2009.05236, as made public with DSXplore (IPDPS 2021): windows assigned
cyclically, so that a few layers reach every channel; weights and multiply-adds are those of a grouped 1x1x1.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.connection import Connection, channel_mix
from app.layers.convolution import conv3d
from app.layers.cost import Cost, strided
from app.layers.grouped import depthwise
from app.operators.channelwise import Channelwise
from app.operators.operator import ConvSpec


class RollingPointwise(nn.Module):
    """Maps (B, in_channels, D, H, W) to (B, out_channels, D, H, W).

    Output channel c mixes the `in_channels / groups` input channels from c * step on, cyclically; the step is
    the width of the window less its overlap.
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
        """Output channels that see the same window."""

    def forward(self, x: Tensor) -> Tensor:
        """Gather the distinct windows, convolve each as a group, put the channels in cyclic order."""
        # Axes and sizes are told in full: torch's way to ONNX does not know negative ones.
        windows = x.movedim(1, 4).index_select(4, self.get_buffer("index")).movedim(4, 1)
        missing = self.rounds * self.windows - self.out_channels
        weight = F.pad(self.weight, (0, 0) * 4 + (0, missing))
        weight = weight.reshape(self.rounds, self.windows, self.width, 1, 1, 1)
        mixed = conv3d(windows, weight.transpose(0, 1).flatten(0, 1), groups=self.windows)
        last = mixed.movedim(1, 4)
        by_round = last.reshape(*last.shape[:-1], self.windows, self.rounds).transpose(-1, -2)
        return by_round.flatten(-2)[..., : self.out_channels].movedim(4, 1)

    def connections(self) -> list[Connection]:
        """Each output channel with the channels of its window."""
        starts = np.arange(self.out_channels)[:, None] * self.step
        index = (starts + np.arange(self.width)) % self.in_channels
        links = np.zeros((self.out_channels, self.in_channels), dtype=np.bool_)
        np.put_along_axis(links, index, True, axis=1)
        return [channel_mix(links)]


@dataclass(frozen=True)
class Rolling(Channelwise):
    """3x3x3 depthwise, then rolling pointwise."""

    groups: int
    """A window is this part of the input channels; at most, as far as it divides them."""
    overlap: float
    """Share of a window that the next one covers too."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.groups < 1:
            raise InputError(f"op.groups: got {self.groups}, wanted at least 1")
        if not 0 <= self.overlap < 1:
            raise InputError(f"op.overlap: got {self.overlap}, wanted from 0 to below 1")

    def build_apart(self, conv: ConvSpec) -> nn.Module:
        """The two in turn."""
        return nn.Sequential(depthwise(conv.in_channels, conv.kernel, conv.stride).build(), self._mix(conv))

    def cost_apart(self, conv: ConvSpec, size: Size) -> Cost:
        """in * (taps + out / groups), and what the last round computes without a channel to give it to."""
        filters = depthwise(conv.in_channels, conv.kernel, conv.stride).cost(size)
        with torch.device("meta"):
            mix = self._mix(conv)
        width = conv.in_channels // math.gcd(self.groups, conv.in_channels)
        voxels = math.prod(strided(size, conv.stride))
        return filters + Cost(conv.out_channels * width, voxels * mix.rounds * mix.windows * width)

    def _mix(self, conv: ConvSpec) -> RollingPointwise:
        groups = math.gcd(self.groups, conv.in_channels)
        return RollingPointwise(conv.in_channels, conv.out_channels, groups=groups, overlap=self.overlap)
