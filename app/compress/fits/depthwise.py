"""Depthwise decomposition of one convolution: a few filters per input channel, and a mix of their outputs.

He et al., arXiv 1910.09455. Matrices are in double precision: (channel, row, tap) for the inputs of a
convolution, (row, out) for its responses, (channel, out, tap) for its weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_CUTOFF = 1e-6  # smaller singular values, as a share of the largest, are noise


@dataclass(frozen=True)
class DepthwiseFactors:
    """The filters (channel, rank, tap) and the mix (channel, rank, out)."""

    filters: Tensor
    mix: Tensor

    def weights(self) -> Tensor:
        """Return the weights (channel, out, tap) that the factors represent."""
        return self.mix.transpose(1, 2) @ self.filters

    def responses(self, inputs: Tensor) -> Tensor:
        """Return the contribution of each input channel to the outputs, (channel, row, out)."""
        return inputs @ self.filters.transpose(1, 2) @ self.mix


def by_channel(weight: Tensor) -> Tensor:
    """Return a convolution's weight (out, in, kd, kh, kw) as (channel, out, tap)."""
    return weight.detach().double().transpose(0, 1).flatten(2)


def from_weights(weights: Tensor, rank: int) -> DepthwiseFactors:
    """Return the nearest weights of a rank, by a singular value decomposition of each channel."""
    left, values, right = torch.linalg.svd(weights, full_matrices=False)
    return DepthwiseFactors(right[:, :rank], (left * values[:, None])[..., :rank].transpose(1, 2))


def root_of(inputs: Tensor) -> Tensor:
    """Return a square root (channel, tap, tap) of each channel's second moments, without squaring inputs."""
    root: Tensor = torch.linalg.qr(inputs, mode="r").R
    return root


def from_responses(weights: Tensor, root: Tensor, rank: int) -> DepthwiseFactors:
    """Return the factors with the nearest response of each channel, for inputs with this root."""
    _, _, right = torch.linalg.svd(root @ weights.transpose(1, 2), full_matrices=False)
    mix = right[:, :rank]
    return DepthwiseFactors(mix @ weights, mix)


def compensated(start: DepthwiseFactors, inputs: Tensor, target: Tensor, *, sweeps: int) -> DepthwiseFactors:
    """Refit each channel in turn to the part of the target that the others leave; the error never rises.

    This is block coordinate descent with an exact minimum in every step. So `start` may be any factors, and
    `inputs` may come from a network that is already decomposed.
    """
    bases, solvers = _bases(inputs)
    filters, mix = start.filters.clone(), start.mix.clone()
    left = target - start.responses(inputs).sum(dim=0)
    for _ in range(sweeps):
        for channel, basis in enumerate(bases):
            left += inputs[channel] @ filters[channel].T @ mix[channel]
            wanted = basis.T @ left
            _, _, right = torch.linalg.svd(wanted, full_matrices=False)
            mix[channel] = right[: mix.shape[1]]
            projected = wanted @ mix[channel].T
            filters[channel] = (solvers[channel] @ projected).T
            left -= basis @ projected @ mix[channel]
    return DepthwiseFactors(filters, mix)


def refitted_mix(factors: DepthwiseFactors, inputs: Tensor, target: Tensor) -> DepthwiseFactors:
    """Return the best mix of all channels' filters together, by one least-squares fit with fixed filters."""
    channels, rank, _ = factors.filters.shape
    features = (inputs @ factors.filters.transpose(1, 2)).transpose(0, 1).flatten(1)  # (row, channel * rank)
    mix = torch.linalg.lstsq(features, target, rcond=_CUTOFF, driver="gelsd").solution
    return DepthwiseFactors(factors.filters, mix.reshape(channels, rank, -1))


def _bases(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return per channel an orthonormal basis (row, tap) of its inputs, and a map from basis to taps."""
    basis, root = torch.linalg.qr(inputs)
    left, values, right = torch.linalg.svd(root, full_matrices=False)  # rank is smaller with few rows
    kept = values > _CUTOFF * values.amax(dim=1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    inverse = torch.where(kept, 1 / values.where(kept, torch.ones_like(values)), 0)
    return (basis @ left) * kept[:, None], right.transpose(1, 2) * inverse[:, None]
