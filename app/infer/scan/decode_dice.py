"""Decoding to labels with the highest expected Dice, instead of each voxel's most probable label (RankSEG).

The mask of a label with the highest expected Dice holds all voxels whose probability is above a threshold. By
the reciprocal moment approximation (RankSEG-RMA: Wang and Dai, NeurIPS 2025, arXiv 2510.15362) the expected
Dice of the voxels above t is 2 C(t) / (S + n(t) + 1), with their number n, the sum C of their probabilities,
and the sum S of the probabilities of all voxels. A voxel increases this value if its probability is above
half of it. The threshold is therefore half of the highest value, which Dinkelbach's iteration finds without
sorting. A voxel in several masks, or in none, gets the label whose expected Dice gains most by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PRUNED = 0.5  # a label whose probability is nowhere above this is left out, as in RankSEG
_AT_ONCE = 2**22  # probabilities processed at once
_ITERATIONS = 50  # most iterations; about six are needed


@dataclass(frozen=True)
class _MaskSums:
    """The number of voxels in each label's mask (L,), and the sums of their probabilities (L,)."""

    count: Floats
    inside: Floats


def decode_dice(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> None:
    """Write classes (i, j, k) to `labels`, decoded from class probabilities (L, i, j, k).

    The probabilities may be a mapped file.
    """
    classes = len(probabilities)
    total, highest = np.zeros(classes), np.zeros(classes)
    for piece, _ in _pieces(probabilities):
        total += piece.sum(axis=1, dtype=np.float64)
        highest = np.maximum(highest, piece.max(axis=1))
    cuts = _thresholds(probabilities, total)
    active = highest > _PRUNED
    cuts[~active] = np.inf
    alone = _sums(probabilities, cuts, alone=True)
    if not active.any():
        active[:] = True
    for piece, place in _pieces(probabilities):
        masks = piece > cuts[:, None]
        wanted = np.where(masks.any(axis=0), masks, active[:, None])
        base = alone.count + total + 1
        gain = (alone.inside[:, None] + piece) / (base + 1)[:, None] - (alone.inside / base)[:, None]
        chosen = np.where(wanted, gain, -np.inf).argmax(axis=0)
        labels[place] = chosen.reshape(labels[place].shape)


def _thresholds(probabilities: NDArray[np.float32], total: Floats) -> Floats:
    """Return the threshold of each label (L,), half of its highest expected Dice."""
    cuts = np.full(len(probabilities), 0.5)
    for _ in range(_ITERATIONS):
        found = _sums(probabilities, cuts)
        following = found.inside / (total + found.count + 1)
        if np.array_equal(following, cuts):
            break
        cuts = following
    return cuts


def _sums(probabilities: NDArray[np.float32], cuts: Floats, *, alone: bool = False) -> _MaskSums:
    """Return sums over the voxels above each label's threshold; `alone` leaves out voxels above several."""
    count, inside = np.zeros(len(probabilities)), np.zeros(len(probabilities))
    for piece, _ in _pieces(probabilities):
        masks = piece > cuts[:, None]
        if alone:
            masks &= masks.sum(axis=0) == 1
        count += masks.sum(axis=1)
        inside += np.where(masks, piece, 0).sum(axis=1, dtype=np.float64)
    return _MaskSums(count, inside)


def _pieces(probabilities: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32], slice]]:
    """Yield probabilities (L, voxels) of some layers at a time, and the slice of these layers along i."""
    layers = max(1, _AT_ONCE // int(np.prod((len(probabilities), *probabilities.shape[2:]))))
    for start in range(0, probabilities.shape[1], layers):
        place = slice(start, start + layers)
        yield np.asarray(probabilities[:, place]).reshape(len(probabilities), -1), place
