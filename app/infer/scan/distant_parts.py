"""Parts of a label map that lie far from the others, such as an organ's look-alike elsewhere in the scan."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from app.core.types import Labels, Spacing

DISTANCES_MM = (10.0, 20.0, 40.0)
"""Distances that parts of one group may be apart; the smallest that fits all references is used."""
_CELL_MM = 2.5  # distances are measured between cells of about this size, or voxels if these are larger
_ANY_NEIGHBOUR = np.ones((3, 3, 3), dtype=np.bool_)


def joining_distance(masks: Iterable[NDArray[np.bool_]], spacing: Spacing) -> float | None:
    """Return the smallest of `DISTANCES_MM` at which every mask is one group of parts.

    `masks` have one axis order, and `spacing` in mm follows it. None if some mask has parts that lie farther
    apart, or if all masks are empty.
    """
    least, seen = 0, False
    for mask in masks:
        counts, cells_mm = _cells(mask, spacing)
        seen = seen or bool(counts.any())
        while least < len(DISTANCES_MM) and _groups(counts, cells_mm, DISTANCES_MM[least])[1] > 1:
            least += 1
        if least == len(DISTANCES_MM):
            return None
    return DISTANCES_MM[least] if seen else None


def drop_distant(labels: Labels, spacing: Spacing, distance_mm: float) -> int:
    """Turn foreground that is farther than `distance_mm` from the main group into background, in place.

    Foreground parts at most about `distance_mm` apart form a group; the group with the most voxels is the
    main one. `spacing` in mm follows the axes of `labels`. Return the number of voxels dropped.
    """
    mask = labels > 0
    found = ndimage.find_objects(mask.view(np.uint8))
    if not found:
        return 0
    box = found[0]
    counts, cells_mm = _cells(mask[box], spacing)
    groups, count = _groups(counts, cells_mm, distance_mm)
    if count < 2:
        return 0
    voxels = np.bincount(groups.ravel(), weights=counts.ravel())
    distant = groups != voxels.argmax()
    for axis, length in enumerate(_lengths(spacing)):
        distant = distant.repeat(length, axis=axis)
    distant = distant[tuple(slice(n) for n in labels[box].shape)] & mask[box]
    labels[box][distant] = 0
    return int(np.count_nonzero(distant))


def _lengths(spacing: Spacing) -> list[int]:
    """Return the number of voxels of a cell along each axis."""
    return [max(1, int(_CELL_MM // mm)) for mm in spacing]


def _cells(mask: NDArray[np.bool_], spacing: Spacing) -> tuple[NDArray[np.int64], list[float]]:
    """Return the number of voxels of a mask in each cell, and the size of a cell in mm."""
    counts: NDArray[Any] = mask
    lengths = _lengths(spacing)
    for axis, length in enumerate(lengths):
        starts = np.arange(0, mask.shape[axis], length)
        counts = np.add.reduceat(counts, starts, axis=axis, dtype=np.int64)
    return counts, [mm * length for mm, length in zip(spacing, lengths, strict=True)]


def _groups(
    counts: NDArray[np.int64], cells_mm: list[float], distance_mm: float
) -> tuple[NDArray[np.int32], int]:
    """Return the group of each cell, numbered from 1 (0 for empty cells), and the number of groups."""
    filled = counts > 0
    if not filled.any():
        return np.zeros(counts.shape, dtype=np.int32), 0
    half = [int(distance_mm / 2 // mm) + 1 for mm in cells_mm]
    padded = np.pad(filled, [(n, n) for n in half])
    near = ndimage.distance_transform_edt(~padded, sampling=cells_mm) <= distance_mm / 2
    groups, count = ndimage.label(near, structure=_ANY_NEIGHBOUR)
    inside = tuple(slice(n, -n) for n in half)
    return np.where(filled, groups[inside], 0), count
