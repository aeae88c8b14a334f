"""Which values a label map holds, whatever type it is stored in."""

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 2**22  # voxels: numpy counts in 64 bits, eight times the memory of a label map


def count_values(voxels: NDArray[np.generic]) -> dict[float, int]:
    """Voxels by value, in rising order; whole values from 0 to 255 are counted without sorting."""
    small = _as_bytes(voxels)
    if small is not None:
        counts = count_integers(small, 256)
        return {float(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(voxels, return_counts=True)
    return dict(zip(values.astype(np.float64).tolist(), counts.tolist(), strict=True))


def count_integers(voxels: NDArray[np.integer], least: int) -> NDArray[np.intp]:
    """Voxels of each value 0, 1, ... up to the largest, `least` counts at least."""
    flat = voxels.ravel(order="K")
    counts = np.zeros(max(least, int(flat.max(initial=0)) + 1), dtype=np.intp)
    for start in range(0, flat.size, _AT_ONCE):
        counts += np.bincount(flat[start : start + _AT_ONCE], minlength=len(counts))
    return counts


def _as_bytes(voxels: NDArray[np.generic]) -> NDArray[np.uint8] | None:
    """The same values as uint8; None where they are not the same."""
    if voxels.dtype == np.uint8:
        return np.asarray(voxels, dtype=np.uint8)
    with np.errstate(invalid="ignore"):  # NaN becomes some byte, which then differs
        small = voxels.astype(np.uint8)
    return small if np.array_equal(small, voxels) else None
