"""Depth-wise decomposition of one convolution: per input channel, a few filters and what mixes them.

He et al., arXiv 1910.09455. Matrices are double precision: (channel, row, tap) of the inputs a convolution
sees, (row, out) of its responses, (channel, out, tap) of its weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_CUTOFF = 1e-6  # singular values below this share of the largest are noise


@dataclass(frozen=True)
class DepthwiseFactors:
    """Filters (channel, rank, tap) and mix (channel, rank, out)."""

    filters: Tensor
    mix: Tensor

    def weights(self) -> Tensor:
        """The weights (channel, out, tap) they stand for."""
        return self.mix.transpose(1, 2) @ self.filters

    def responses(self, inputs: Tensor) -> Tensor:
        """Each channel's part of the response (channel, row, out)."""
        return inputs @ self.filters.transpose(1, 2) @ self.mix


def by_channel(weight: Tensor) -> Tensor:
    """A convolution's weight (out, in, kd, kh, kw) as (channel, out, tap)."""
    return weight.detach().double().transpose(0, 1).flatten(2)


def from_weights(weights: Tensor, rank: int) -> DepthwiseFactors:
    """The nearest weights of that rank: a singular value decomposition for each channel."""
    left, values, right = torch.linalg.svd(weights, full_matrices=False)
    return DepthwiseFactors(right[:, :rank], (left * values[:, None])[..., :rank].transpose(1, 2))


def root_of(inputs: Tensor) -> Tensor:
    """A square root (channel, tap, tap) of each channel's second moments, without squaring anything."""
    root: Tensor = torch.linalg.qr(inputs, mode="r").R
    return root


def from_responses(weights: Tensor, root: Tensor, rank: int) -> DepthwiseFactors:
    """The nearest response of each channel to inputs of this root, channels apart."""
    _, _, right = torch.linalg.svd(root @ weights.transpose(1, 2), full_matrices=False)
    mix = right[:, :rank]
    return DepthwiseFactors(mix @ weights, mix)


def compensated(start: DepthwiseFactors, inputs: Tensor, target: Tensor, *, sweeps: int) -> DepthwiseFactors:
    """Each channel in turn refitted to what the others leave of the target; the error never rises.

    Block coordinate descent with an exact minimum in every step, so `start` may come from anywhere and
    `inputs` from a network that is decomposed already.
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
    """The best mix of all channels' filters together: one least-squares fit, the filters as they are."""
    channels, rank, _ = factors.filters.shape
    features = (inputs @ factors.filters.transpose(1, 2)).transpose(0, 1).flatten(1)  # (row, channel * rank)
    mix = torch.linalg.lstsq(features, target, rcond=_CUTOFF, driver="gelsd").solution
    return DepthwiseFactors(factors.filters, mix.reshape(channels, rank, -1))


def _bases(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Per channel an orthonormal basis (row, tap) of what its taps span, and the way from it to taps."""
    basis, root = torch.linalg.qr(inputs)
    left, values, right = torch.linalg.svd(root, full_matrices=False)  # fewer rows than taps span fewer
    kept = values > _CUTOFF * values.amax(dim=1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    inverse = torch.where(kept, 1 / values.where(kept, torch.ones_like(values)), 0)
    return (basis @ left) * kept[:, None], right.transpose(1, 2) * inverse[:, None]
