"""Labels with the highest expected Dice, in place of the likeliest label of each voxel (RankSEG).

The mask of a label with the highest expected Dice holds its voxels above a threshold. By the reciprocal
moment approximation (RankSEG-RMA: Wang and Dai, NeurIPS 2025, arXiv 2510.15362) the expected Dice of the
voxels above t is 2 C(t) / (S + n(t) + 1): n is their number, C the sum of their probabilities, S that of all
voxels. A voxel adds to it if its probability is above half of it, so the threshold is half of the highest
value, which Dinkelbach's iteration finds without sorting. Where masks overlap, or no mask has a voxel, the
label that gains most by it has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PRUNED = 0.5  # a label that is nowhere likelier is left out, as in RankSEG
_AT_ONCE = 2**22  # probabilities looked at together
_ITERATIONS = 50  # about six are needed


@dataclass(frozen=True)
class _Sums:
    """The number of voxels in each label's mask, and their probabilities."""

    count: Floats
    inside: Floats


def decode_dice(probabilities: NDArray[np.float32], labels: NDArray[np.integer]) -> None:
    """Write label values (i, j, k) from class probabilities (L, i, j, k), which may be a mapped file."""
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
    """Half of the highest expected Dice of each label."""
    cuts = np.full(len(probabilities), 0.5)
    for _ in range(_ITERATIONS):
        found = _sums(probabilities, cuts)
        following = found.inside / (total + found.count + 1)
        if np.array_equal(following, cuts):
            break
        cuts = following
    return cuts


def _sums(probabilities: NDArray[np.float32], cuts: Floats, *, alone: bool = False) -> _Sums:
    """Sums over the voxels above each label's threshold; if `alone`, over those above no other one's."""
    count, inside = np.zeros(len(probabilities)), np.zeros(len(probabilities))
    for piece, _ in _pieces(probabilities):
        masks = piece > cuts[:, None]
        if alone:
            masks &= masks.sum(axis=0) == 1
        count += masks.sum(axis=1)
        inside += np.where(masks, piece, 0).sum(axis=1, dtype=np.float64)
    return _Sums(count, inside)


def _pieces(probabilities: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32], slice]]:
    """Some layers (L, voxels) at a time, and their place along i."""
    layers = max(1, _AT_ONCE // int(np.prod((len(probabilities), *probabilities.shape[2:]))))
    for start in range(0, probabilities.shape[1], layers):
        place = slice(start, start + layers)
        yield np.asarray(probabilities[:, place]).reshape(len(probabilities), -1), place
