"""One convolution to be decomposed: weights, rows and what follows it, as a method wants them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from app.compress.fits.depthwise import by_channel, root_of
from app.compress.fits.samples import Rows


@dataclass(frozen=True)
class Following:
    """What a norm and an activation make of each output channel: gain (out,), shift (out,), slope."""

    gain: Tensor | None
    shift: Tensor | None
    slope: float | None
    eps: float = 0.0
    """What the norm adds to a variance."""


UNKNOWN = Following(None, None, None)
_SILENT = 1e-6  # of the largest scale: a channel that the norm shuts off still has an inverse


@dataclass(frozen=True)
class ConvTask:
    """Everything in double precision, centred, output channels in units of what the norm makes of them.

    An error then counts as much as the rest of the network sees of it.
    """

    conv: nn.Conv3d
    rows: Rows
    following: Following

    @cached_property
    def scale(self) -> Tensor:
        """(out,): what the norm multiplies each channel by, with its sign; ones where no norm follows."""
        variance = self.rows.outputs.double().var(dim=0)
        gain = self.following.gain
        if gain is None:
            return torch.ones_like(variance)
        scale = gain.abs() / (variance + self.following.eps).sqrt()
        scale = scale.clamp_min(_SILENT * float(scale.max()))
        return torch.where(gain < 0, -scale, scale)

    @cached_property
    def weights(self) -> Tensor:
        """(channel, out, tap)."""
        return by_channel(self.conv.weight) * self.scale[:, None]

    @cached_property
    def inputs(self) -> Tensor:
        """(channel, row, tap)."""
        inputs = self.rows.inputs.double()
        return inputs - inputs.mean(dim=1, keepdim=True)

    @cached_property
    def root(self) -> Tensor:
        """Of the inputs' second moments (channel, tap, tap)."""
        return root_of(self.inputs)

    @cached_property
    def target(self) -> Tensor:
        """(row, out): what the undecomposed network answers."""
        outputs = self.rows.outputs.double() * self.scale
        return outputs - outputs.mean(dim=0)

    def bias(self, weights: Tensor) -> Tensor | None:
        """The bias for new weights (channel, out, tap), so that the mean response stays.

        None where the convolution had none.
        """
        if self.conv.bias is None:
            return None
        means = self.rows.inputs.double().mean(dim=1)  # (channel, tap)
        return self.rows.outputs.double().mean(dim=0) - (weights @ means[..., None]).sum(dim=0)[:, 0]


def following(network: nn.Module, path: str) -> Following:
    """The norm and activation right after a convolution, where they are its neighbours in a sequence."""
    parent, _, index = path.rpartition(".")
    if not index.isdigit():
        return UNKNOWN
    rest = list(network.get_submodule(parent).children())[int(index) + 1 :]
    norm = rest[0] if rest and isinstance(rest[0], nn.GroupNorm) and rest[0].affine else None
    if norm is None or norm.num_groups != norm.num_channels:
        return UNKNOWN
    bend = rest[1] if len(rest) > 1 else None
    slope = bend.negative_slope if isinstance(bend, nn.LeakyReLU) else None
    return Following(norm.weight.detach().double(), norm.bias.detach().double(), slope, norm.eps)
