"""Thick slices, and stacks of them: every second slice of a scan, or every third and so on."""

import math

from app.core.types import Spacing

_THICK = 2.0  # slices are thick if voxels are over this many times longer across them than within them
_SPAN = 0.85  # least share of the grid's slice that the step between slices of a stack must reach
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
