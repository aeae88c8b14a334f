"""Which label a point between voxels gets: each of the eight around it votes with its linear weight.

The label of the largest total wins, ties go to the lower label. That is the label whose mask, interpolated
linearly by itself, has the largest share, without a volume per label: most points lie between eight voxels
of one label, which need no vote.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_AT_ONCE = 2**18  # points whose eight voxels and weights are held at once: 20 MB
_MIXED = -1

Ends = tuple[Tensor, Tensor, Tensor]
"""Along D, H and W: float (n,)."""


def uniform_cells(labels: Tensor) -> Tensor:
    """Labels (D, H, W) -> (D-1, H-1, W-1), int16: the label of eight voxels, -1 where they differ."""
    low = high = labels
    for axis in range(3):
        length = labels.shape[axis] - 1
        low = torch.minimum(low.narrow(axis, 0, length), low.narrow(axis, 1, length))
        high = torch.maximum(high.narrow(axis, 0, length), high.narrow(axis, 1, length))
    return torch.where(low == high, low.to(torch.int16), _MIXED)


def mixed(points: Tensor, at_once: int) -> Sequence[Tensor]:
    """The flat numbers of points whose cells hold several labels, so many at once."""
    return torch.split((points.view(-1) == _MIXED).nonzero()[:, 0], at_once)


def corner_steps(shape: Sequence[int]) -> list[int]:
    """How far each of the eight voxels of a cell lies from its first, in a flat volume of `shape`."""
    return [(z * shape[1] + y) * shape[2] + x for z in (0, 1) for y in (0, 1) for x in (0, 1)]


def settle_mixed(points: Tensor, labels: Tensor, between: Callable[[Tensor], tuple[Tensor, Ends]]) -> Tensor:
    """Return the labels (...) of points whose cells `points` (...), int16, were found by `uniform_cells`.

    `between` gives, for some points by their flat number, the flat place in `labels` of the first of their
    eight voxels, and how far they are from it towards the next along each axis, from 0 to 1.
    """
    result = points.to(labels.dtype)
    flat, voxels = result.view(-1), labels.reshape(-1)
    steps = corner_steps(labels.shape)
    for chosen in mixed(points, _AT_ONCE):
        first, ends = between(chosen)
        corners = torch.stack([voxels[first + step] for step in steps])
        flat[chosen] = _elect(corners, corner_weights(ends))
    return result


def corner_weights(ends: Ends) -> Tensor:
    """The linear weights (8, n) of the voxels around points."""
    depth, height, width = (torch.stack([1 - end, end]) for end in ends)
    return (depth[:, None, None] * height[None, :, None] * width[None, None]).flatten(0, 2)


def _elect(corners: Tensor, weights: Tensor) -> Tensor:
    """Labels (8, n) and their weights -> the label (n,) of the largest total, ties the lower."""
    totals = torch.zeros_like(weights)
    for voter, weight in zip(corners, weights, strict=True):
        totals += weight * (corners == voter)
    most = totals == totals.amax(0)
    return corners.where(most, torch.iinfo(corners.dtype).max).amin(0)
