"""Which values a label map holds, whatever type it is stored in."""

import numpy as np
from numpy.typing import NDArray


def count_values(voxels: NDArray[np.generic]) -> dict[float, int]:
    """Voxels by value, in rising order; whole values from 0 to 255 are counted without sorting."""
    small = _as_bytes(voxels)
    if small is not None:
        counts = np.bincount(small.ravel(), minlength=256)
        return {float(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(voxels, return_counts=True)
    return dict(zip(values.astype(np.float64).tolist(), counts.tolist(), strict=True))


def _as_bytes(voxels: NDArray[np.generic]) -> NDArray[np.uint8] | None:
    """The same values as uint8; None where they are not the same."""
    if voxels.dtype == np.uint8:
        return np.asarray(voxels, dtype=np.uint8)
    with np.errstate(invalid="ignore"):  # NaN becomes some byte, which then differs
        small = voxels.astype(np.uint8)
    return small if np.array_equal(small, voxels) else None
