"""How often a part of a scan, taken from anywhere, holds some of a label.

Interpolated for patches of three data sets and sizes, this was within 0.09 of the share among drawn patches.
"""

import numpy as np
from numpy.typing import NDArray

from app.core.types import Labels

PARTS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)
"""Of the extents of a scan, along every axis."""
_CELLS = 32  # the scan's extents are divided into, which makes it exact for PARTS within a cell


def shares_met(labels: Labels, count: int) -> list[tuple[float, ...]]:
    """For label values 1 .. count - 1 of a map (D, H, W): how often boxes of PARTS hold some of it.

    The share of all places of such a box within the map; empty for a label that the map lacks.
    """
    cells = _in_cells(labels, count)
    present = [bool(label.any()) for label in cells]
    shares = [_share_of_places(cells[present], part) for part in PARTS]
    found = iter(zip(*shares, strict=True))
    return [next(found) if there else () for there in present]


def _in_cells(labels: Labels, count: int) -> NDArray[np.bool_]:
    """(count - 1, d, h, w), at most _CELLS along an axis: true where any voxel of a cell has the label."""
    sizes = [min(_CELLS, extent) for extent in labels.shape]
    numbers = [_cell_numbers(extent, size) for extent, size in zip(labels.shape, sizes, strict=True)]
    cells = np.zeros((*sizes, max(256, count)), dtype=np.bool_)
    for depth in range(sizes[0]):
        slab = labels[numbers[0] == depth]
        _, rows, columns = places = np.nonzero(slab)
        cells[depth, numbers[1][rows], numbers[2][columns], slab[places]] = True
    return np.ascontiguousarray(np.moveaxis(cells[..., 1:count], -1, 0))


def _cell_numbers(extent: int, size: int) -> NDArray[np.intp]:
    """The cell of each voxel along an axis."""
    starts = [index * extent // size for index in range(size)]
    return np.searchsorted(starts, np.arange(extent), side="right") - 1


def _share_of_places(cells: NDArray[np.bool_], part: float) -> list[float]:
    """For each of the first axis: how many windows of a part of the others hold a true cell."""
    for axis in (1, 2, 3):
        window = max(1, round(part * cells.shape[axis]))
        sums = np.cumsum(cells, axis=axis, dtype=np.int16)
        sums = np.insert(sums, 0, 0, axis=axis)
        last = sums.shape[axis]
        cells = sums.take(range(window, last), axis) > sums.take(range(last - window), axis)
    return [float(label.mean()) for label in cells]
