"""The label of a point between voxels: each of the eight voxels around it votes with its linear weight.

The label with the largest total wins; ties go to the lower label. It is the label whose mask, interpolated
linearly on its own, has the largest value at the point, but no volume per label is needed. Most points lie
between eight voxels of one label and need no vote.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_AT_ONCE = 2**18  # points whose eight voxels and weights are held at once: 20 MB
_MIXED = -1

Ends = tuple[Tensor, Tensor, Tensor]
"""Distances of n points from the first voxel of their cells along D, H and W, from 0 to 1, float (n,)."""


def uniform_cells(labels: Tensor) -> Tensor:
    """Return the label of each cell of eight voxels, or -1 if they differ.

    Labels (D, H, W) give int16 (D-1, H-1, W-1).
    """
    low = high = labels
    for axis in range(3):
        length = labels.shape[axis] - 1
        low = torch.minimum(low.narrow(axis, 0, length), low.narrow(axis, 1, length))
        high = torch.maximum(high.narrow(axis, 0, length), high.narrow(axis, 1, length))
    return torch.where(low == high, low.to(torch.int16), _MIXED)


def mixed(points: Tensor, at_once: int) -> Sequence[Tensor]:
    """Return the flat indices of points whose cells hold several labels, in batches of `at_once`."""
    return torch.split((points.view(-1) == _MIXED).nonzero()[:, 0], at_once)


def corner_steps(shape: Sequence[int]) -> list[int]:
    """Return the offsets of the eight voxels of a cell from its first, in a flattened volume of `shape`."""
    return [(z * shape[1] + y) * shape[2] + x for z in (0, 1) for y in (0, 1) for x in (0, 1)]


def settle_mixed(points: Tensor, labels: Tensor, between: Callable[[Tensor], tuple[Tensor, Ends]]) -> Tensor:
    """Return the labels of points, after a vote for those whose cells hold several labels.

    `points` are the values of `uniform_cells` at the points, int16 of any shape; the result has that shape.
    `between` takes flat indices of points. It returns the flat index in `labels` of the first of the eight
    voxels around each point, and the point's distances from that voxel (see `Ends`).
    """
    result = points.to(labels.dtype)
    flat, voxels = result.view(-1), labels.reshape(-1)
    steps = corner_steps(labels.shape)
    for chosen in mixed(points, _AT_ONCE):
        first, ends = between(chosen)
        corners = torch.stack([voxels[first + step] for step in steps])
        flat[chosen] = _elect(corners, corner_weights(ends))
    return result


def sample_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """Return the labels (d, h, w) at the points of a grid (d, h, w, 3); background outside.

    `labels` is (D, H, W).
    """
    padded = F.pad(labels, (1, 2, 1, 2, 1, 2))
    cells = uniform_cells(padded)
    places = [  # coordinates in `padded`
        (grid[..., 2 - axis] + 1).mul_(length / 2).add_(0.5).clamp_(0, length + 1)
        for axis, length in enumerate(labels.shape)
    ]
    low = [place.to(torch.int32) for place in places]
    points = cells.view(-1).index_select(0, _flat(low, cells.shape).view(-1)).view(grid.shape[:3])

    def between(chosen: Tensor) -> tuple[Tensor, Ends]:
        first = [each.view(-1)[chosen] for each in low]
        depth, height, width = (
            place.view(-1)[chosen] - each for place, each in zip(places, first, strict=True)
        )
        return _flat(first, padded.shape), (depth, height, width)

    return settle_mixed(points, padded, between)


def _flat(places: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Return the flat indices of voxels (D, H, W) in a volume of `shape`."""
    depth, height, width = places
    return (depth * shape[1] + height) * shape[2] + width


def corner_weights(ends: Ends) -> Tensor:
    """Return the linear weights (8, n) of the voxels around n points."""
    depth, height, width = (torch.stack([1 - end, end]) for end in ends)
    return (depth[:, None, None] * height[None, :, None] * width[None, None]).flatten(0, 2)


def _elect(corners: Tensor, weights: Tensor) -> Tensor:
    """Return the labels (n,) with the largest total weight, from labels and weights (8, n).

    Ties go to the lower label.
    """
    totals = torch.zeros_like(weights)
    for voter, weight in zip(corners, weights, strict=True):
        totals += weight * (corners == voter)
    most = totals == totals.amax(0)
    return corners.where(most, torch.iinfo(corners.dtype).max).amin(0)
