"""Dice of every target from one count of voxels by predicted and reference label: no mask per label."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 2**20  # voxels whose pairs are counted at once, in 64 bits


def count_pairs(
    predicted: NDArray[np.integer], reference: NDArray[np.integer], *, least: int
) -> NDArray[np.int64]:
    """Count voxels by (predicted, reference) label value; a square table of at least `least` values."""
    size = max(least, 1 + int(predicted.max(initial=0)), 1 + int(reference.max(initial=0)))
    counts = np.zeros(size**2, dtype=np.int64)
    for ours, theirs in _in_pieces(predicted, reference):
        pairs = ours.astype(np.int64) * size + theirs
        counts += np.bincount(pairs.ravel(), minlength=size**2)
    return counts.reshape(size, size)


def dice_by_target(
    counts: NDArray[np.int64], targets: Mapping[str, tuple[int, ...]], ignore: int | None
) -> dict[str, float | None]:
    """Return each target's Dice, None where it is absent from both; voxels of `ignore` are left out."""
    if ignore is not None and ignore < len(counts):
        counts = counts.copy()
        counts[:, ignore] = 0
    found: dict[str, float | None] = {}
    for name, values in targets.items():
        rows = list(values)
        total = int(counts[rows].sum() + counts[:, rows].sum())
        found[name] = 2 * int(counts[np.ix_(rows, rows)].sum()) / total if total else None
    return found


def _in_pieces(
    predicted: NDArray[np.integer], reference: NDArray[np.integer]
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.integer]]]:
    """Both maps a few planes of the first axis at a time."""
    step = max(1, _AT_ONCE * len(predicted) // max(1, predicted.size))
    for first in range(0, len(predicted), step):
        yield predicted[first : first + step], reference[first : first + step]
