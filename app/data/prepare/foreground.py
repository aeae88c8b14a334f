"""An index of foreground voxels: for each label, voxels of the label map to centre patches on."""

import numpy as np
from numpy.typing import NDArray

from app.core.types import Labels
from app.io.label_values import count_integers

INDEXED = 10_000  # voxels kept per label, which are enough positions to centre patches on
_AT_ONCE = 2**24  # voxels processed at once


def foreground_index(labels: Labels, ignore: int | None) -> NDArray[np.int32]:
    """Return rows (label, d, h, w) of foreground voxels of a label map (D, H, W), sorted by label and place.

    If a label has more than INDEXED voxels, INDEXED of them are drawn with a fixed seed. Background and the
    class `ignore` have no rows. The voxels are read in one pass, whatever the number of labels.
    """
    counts = count_integers(labels, 1)
    counts[0] = 0
    if ignore is not None and ignore < len(counts):
        counts[ignore] = 0
    wanted = _drawn(counts)
    found: dict[int, list[NDArray[np.intp]]] = {label: [] for label in wanted}
    seen = np.zeros(len(counts), dtype=np.intp)
    flat = labels.reshape(-1)
    for first in range(0, flat.size, _AT_ONCE):
        for label, places in _by_label(flat[first : first + _AT_ONCE]).items():
            if label not in wanted:
                continue
            ranks = wanted[label]
            inside = ranks[slice(*np.searchsorted(ranks, [seen[label], seen[label] + len(places)]))]
            found[label].append(first + places[inside - seen[label]])
            seen[label] += len(places)
    rows = [np.empty((0, 4), dtype=np.int32)]
    for label, parts in found.items():
        voxels = np.stack(np.unravel_index(np.concatenate(parts), labels.shape), axis=1).astype(np.int32)
        rows.append(np.insert(voxels, 0, label, axis=1))
    return np.concatenate(rows)


def _drawn(counts: NDArray[np.intp]) -> dict[int, NDArray[np.intp]]:
    """Return for each label which of its voxels are kept, as rising indices into the label's voxels."""
    rng = np.random.default_rng(0)
    kept = {}
    for label in map(int, np.flatnonzero(counts)):
        count = int(counts[label])
        kept[label] = (
            np.arange(count) if count <= INDEXED else np.sort(rng.choice(count, INDEXED, replace=False))
        )
    return kept


def _by_label(flat: Labels) -> dict[int, NDArray[np.intp]]:
    """Return the indices of each label in a flat piece, in rising order, without the background."""
    places = np.flatnonzero(flat)
    values = flat[places]
    order = np.argsort(values, kind="stable")  # a radix sort for one-byte and two-byte values
    places, values = places[order], values[order]
    starts = np.flatnonzero(np.diff(values, prepend=0))
    parts = np.split(places, starts[1:]) if len(starts) else []
    return {int(values[start]): part for start, part in zip(starts, parts, strict=True)}
