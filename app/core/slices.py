"""Thick slices, and stacks of them: every second slice of a scan, or every third and so on."""

import math

from app.core.types import Spacing, as_spacing

_THICK = 2.0  # slices are thick if voxels are over this many times longer across them than within them
_SPAN = 0.85  # least length of the grid's slice, as a share of the step between slices of a stack
_MOST = 4  # stacks at most; a grid that is so much coarser than a scan was not made for it


def sliced_axis(spacing: Spacing) -> int | None:
    """Return the axis along which voxels are over twice as long as along both others, or None."""
    across = max(range(3), key=lambda axis: spacing[axis])
    others = [mm for axis, mm in enumerate(spacing) if axis != across]
    return across if spacing[across] > _THICK * max(others) else None


def count_stacks(grid: Spacing, own: Spacing) -> int:
    """Return the number of stacks into which a scan of spacing `own` is divided for a network's `grid`.

    Both are (D, H, W) in mm. If the grid has thick slices and those of the scan are n times thinner, the scan
    is divided into n stacks: slices 1, n + 1, ..., slices 2, n + 2, ..., and so on. Each has slices as in
    training, so none need to be averaged. The number is 1 if the grid has no thick slices, or the scan has no
    thinner ones.
    """
    across = sliced_axis(grid)
    if across is None:
        return 1
    return min(_MOST, max(1, math.floor(grid[across] / (_SPAN * own[across]))))


def interleaved_spacing(grid: Spacing, own: Spacing) -> Spacing:
    """Return the spacing on which the stacks of a scan lie interleaved, so that each of them is on `grid`.

    It is `grid` itself if the scan, of spacing `own`, is not divided. All are (D, H, W) in mm.
    """
    across, stacks = sliced_axis(grid), count_stacks(grid, own)
    return as_spacing([mm / stacks if axis == across else mm for axis, mm in enumerate(grid)])
