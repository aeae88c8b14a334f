"""Conversion between label values in files (0 to 65 535, with gaps) and classes 0, 1, 2, ... in memory.

Up to 256 classes are stored in unsigned bytes; more in signed 16 bits, a type that torch computes with.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.listed import listed
from app.core.types import Labels

LARGEST_VALUE = 65_535  # 16 bits, the widest label type that all formats and readers support
MOST_CLASSES = 32_768
_NAMED = 5  # most values or runs of values in a message
_AT_ONCE = 2**22  # voxels per chunk: numpy counts and indexes in 64 bits, eight times a label map's memory


def count_values(voxels: NDArray[np.generic]) -> dict[float, int]:
    """Return the number of voxels of each value, in rising order of values.

    Whole values from 0 to 65 535 are counted without sorting, which is faster.
    """
    small = as_integers(voxels, (np.uint8, np.uint16))
    if small is not None:
        counts = count_integers(small, 1)
        return {float(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(voxels, return_counts=True)
    return dict(zip(values.astype(np.float64).tolist(), counts.tolist(), strict=True))


def count_integers(voxels: NDArray[np.integer], least: int) -> NDArray[np.intp]:
    """Return the number of voxels of each value 0, 1, ... up to the largest, in at least `least` entries."""
    flat = voxels.ravel(order="K")
    counts = np.zeros(max(least, int(flat.max(initial=0)) + 1), dtype=np.intp)
    for start in range(0, flat.size, _AT_ONCE):
        counts += np.bincount(flat[start : start + _AT_ONCE], minlength=len(counts))
    return counts


def class_type(classes: int) -> np.dtype[np.integer]:
    """Return the array type for that many classes."""
    return np.dtype(np.uint8 if classes <= 256 else np.int16)


def value_type(values: Sequence[int]) -> np.dtype[np.integer]:
    """Return the type of label map files with these values."""
    return np.dtype(np.uint8 if max(values) <= 255 else np.uint16)


def to_classes(voxels: NDArray[np.generic], values: Sequence[int]) -> Labels:
    """Return the class of each voxel: the position of its label value in the rising `values`.

    All label values (i, j, k) must be among `values`.
    """
    wanted = class_type(len(values))
    if tuple(values) == tuple(range(len(values))):
        return np.ascontiguousarray(voxels, dtype=wanted)
    places = np.zeros(values[-1] + 1, dtype=wanted)
    places[list(values)] = np.arange(len(values))
    return _looked_up(places, np.asarray(voxels, dtype=np.uint16))


def as_classes(labels: Labels, classes: Sequence[int]) -> Labels:
    """Return the class of each voxel; entry i of `classes` is the class of label i."""
    return _looked_up(np.array(classes, dtype=class_type(max(classes) + 1)), labels)


def to_values(classes: Labels, values: Sequence[int]) -> Labels:
    """Return the label value of each voxel's class, the inverse of `to_classes`.

    If classes and values are equal and of one type, the result is the given array, not a copy.
    """
    wanted = value_type(values)
    if tuple(values) == tuple(range(len(values))):
        return classes.astype(wanted, copy=False)
    return _looked_up(np.array(values, dtype=wanted), classes)


def listed_values(values: Iterable[float]) -> str:
    """Return values as text: runs are joined ("0 to 7"), and digits show values that are not whole."""
    shown: list[str] = []
    found = list(values)
    start = 0
    while start < len(found):
        stop = start
        while stop + 1 < len(found) and found[stop + 1] == found[stop] + 1:
            stop += 1
        if stop - start > 1:
            shown.append(f"{_digits(found[start])} to {_digits(found[stop])}")
        else:
            shown += [_digits(value) for value in found[start : stop + 1]]
        start = stop + 1
    return listed(shown, _NAMED)


def _digits(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else f"{value:.9g}"


def _looked_up(table: Labels, places: Labels) -> Labels:
    """Return `table[places]`, computed a few slices at a time to save memory."""
    result = np.empty(places.shape, dtype=table.dtype)
    step = max(1, _AT_ONCE * places.shape[-1] // max(places.size, 1))
    for start in range(0, places.shape[-1], step):
        result[..., start : start + step] = table[places[..., start : start + step]]
    return result


def as_integers(voxels: NDArray[np.generic], types: Sequence[type[np.integer]]) -> Labels | None:
    """Return equal values in the first of the integer types that can hold them; None if none can."""
    for small in types:
        if voxels.dtype == small:
            return np.asarray(voxels)
        with np.errstate(invalid="ignore"):  # NaN becomes some integer, which then differs
            cast: Labels = voxels.astype(small)
        if np.array_equal(cast, voxels):
            return cast
    return None
