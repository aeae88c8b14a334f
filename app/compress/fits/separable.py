"""Filters split into shorter ones without mixing channels, and the sub-kernel nearest to each filter."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from app.core.types import Size, as_size

_ROUNDS = 50  # rounds of alternating least squares; a rank-1 fit of 27 numbers converges in a few


def split_filters(filters: Tensor, kernels: Sequence[Size]) -> list[Tensor]:
    """Split filters (N, kd, kh, kw) into a factor (N, *kernel) per kernel, with the nearest outer product.

    Each axis belongs to one of `kernels`, for example 3x1x1 and 1x3x3. Solved by alternating least squares:
    each factor in turn is the filter projected on the others.
    """
    factors = _leading(filters, kernels)
    for _ in range(_ROUNDS if len(kernels) > 2 else 1):
        for index, kernel in enumerate(kernels):
            others = math.prod(
                (f for i, f in enumerate(factors) if i != index),
                start=torch.ones_like(filters[:, :1, :1, :1]),
            )
            axes = [axis + 1 for axis in range(3) if kernel[axis] == 1]
            energy = others.square().flatten(1).sum(1).clamp_min(torch.finfo(filters.dtype).tiny)
            factors[index] = (filters * others).sum(dim=axes, keepdim=True) / energy.reshape(-1, 1, 1, 1)
    return factors


def suggested_kernels(filters: Tensor, kernels: Sequence[Size], *, share: float) -> list[Size]:
    """Return for each filter (N, kd, kh, kw) the shortest of `kernels` that holds `share` of its energy.

    If none holds enough, the kernel with the largest share.
    """
    energy = filters.square()
    total = energy.flatten(1).sum(1).clamp_min(torch.finfo(filters.dtype).tiny)
    ordered = sorted(kernels, key=lambda kernel: (math.prod(kernel), kernel[::-1]))
    held = torch.stack([energy[:, *_centre(filters, k)].flatten(1).sum(1) / total for k in ordered])
    enough = held >= share
    chosen = torch.where(enough.any(0), enough.int().argmax(0), held.argmax(0))
    return [ordered[index] for index in chosen.tolist()]


def _leading(filters: Tensor, kernels: Sequence[Size]) -> list[Tensor]:
    """Return for each kernel the leading singular vector of the filters unfolded along its axes."""
    factors = []
    for kernel in kernels:
        own = [axis + 1 for axis in range(3) if kernel[axis] > 1]
        rest = [axis for axis in (1, 2, 3) if axis not in own]
        unfolded = filters.permute(0, *own, *rest).reshape(len(filters), math.prod(kernel), -1)
        left, _, _ = torch.linalg.svd(unfolded, full_matrices=False)
        factors.append(left[..., 0].reshape(-1, *kernel))
    return factors


def _centre(filters: Tensor, kernel: Size) -> tuple[slice, ...]:
    full = as_size(filters.shape[1:])
    starts = [(n - taps) // 2 for n, taps in zip(full, kernel, strict=True)]
    return tuple(slice(start, start + taps) for start, taps in zip(starts, kernel, strict=True))
