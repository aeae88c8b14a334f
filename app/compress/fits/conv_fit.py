"""A convolution to decompose: its weights, sampled rows, and the norm and activation after it."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from app.compress.fits.depthwise import by_channel, root_of
from app.compress.fits.samples import Rows


@dataclass(frozen=True)
class Following:
    """The norm and activation after a convolution: gain (out,), shift (out,), negative slope."""

    gain: Tensor | None
    shift: Tensor | None
    slope: float | None
    eps: float = 0.0
    """The term that the norm adds to a variance."""


UNKNOWN = Following(None, None, None)
_SILENT = 1e-6  # share of the largest scale; keeps channels invertible that the norm sets to zero


@dataclass(frozen=True)
class ConvTask:
    """One convolution to fit, in double precision and centred; output channels are scaled by the norm.

    Errors are therefore weighted as the rest of the network sees them.
    """

    conv: nn.Conv3d
    rows: Rows
    following: Following

    @cached_property
    def scale(self) -> Tensor:
        """Signed factor by which the norm multiplies each channel, (out,); ones without a norm."""
        variance = self.rows.outputs.double().var(dim=0)
        gain = self.following.gain
        if gain is None:
            return torch.ones_like(variance)
        scale = gain.abs() / (variance + self.following.eps).sqrt()
        scale = scale.clamp_min(_SILENT * float(scale.max()))
        return torch.where(gain < 0, -scale, scale)

    @cached_property
    def weights(self) -> Tensor:
        """Scaled weights, (channel, out, tap)."""
        return by_channel(self.conv.weight) * self.scale[:, None]

    @cached_property
    def inputs(self) -> Tensor:
        """Centred inputs, (channel, row, tap)."""
        inputs = self.rows.inputs.double()
        return inputs - inputs.mean(dim=1, keepdim=True)

    @cached_property
    def root(self) -> Tensor:
        """Square root of the inputs' second moments, (channel, tap, tap)."""
        return root_of(self.inputs)

    @cached_property
    def target(self) -> Tensor:
        """Scaled, centred outputs of the undecomposed network, (row, out)."""
        outputs = self.rows.outputs.double() * self.scale
        return outputs - outputs.mean(dim=0)

    def bias(self, weights: Tensor) -> Tensor | None:
        """Return the bias for new weights (channel, out, tap) that keeps the mean response.

        None if the convolution has no bias.
        """
        if self.conv.bias is None:
            return None
        means = self.rows.inputs.double().mean(dim=1)  # (channel, tap)
        return self.rows.outputs.double().mean(dim=0) - (weights @ means[..., None]).sum(dim=0)[:, 0]


def following(network: nn.Module, path: str) -> Following:
    """Return the norm and activation directly after a convolution in the same sequence, if there are any."""
    parent, _, index = path.rpartition(".")
    if not index.isdigit():
        return UNKNOWN
    rest = list(network.get_submodule(parent).children())[int(index) + 1 :]
    norm = rest[0] if rest and isinstance(rest[0], nn.GroupNorm) and rest[0].affine else None
    if norm is None or norm.num_groups != norm.num_channels:
        return UNKNOWN
    bend = rest[1] if len(rest) > 1 else None
    slope = bend.negative_slope if isinstance(bend, nn.LeakyReLU) else None
    slope = 0.0 if isinstance(bend, nn.ReLU) else slope
    return Following(norm.weight.detach().double(), norm.bias.detach().double(), slope, norm.eps)
