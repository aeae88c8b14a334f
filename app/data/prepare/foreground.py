"""Where foreground is in a label map: voxels of each label, to centre patches on."""

import numpy as np
from numpy.typing import NDArray

from app.core.types import Labels
from app.io.label_values import count_integers

INDEXED = 10_000  # voxels kept per label: enough places to centre a patch on
_AT_ONCE = 2**24  # voxels gone through at once


def foreground_index(labels: Labels, ignore: int | None) -> NDArray[np.int32]:
    """Return rows (label, d, h, w) of a label map (D, H, W), sorted by label and place, always the same.

    Of a label with more than INDEXED voxels as many are drawn. Background and `ignore` have no rows. Voxels
    are gone through once, whatever the number of labels.
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
    """The numbers, in rising order, of each label's voxels that are kept."""
    rng = np.random.default_rng(0)
    kept = {}
    for label in map(int, np.flatnonzero(counts)):
        count = int(counts[label])
        kept[label] = (
            np.arange(count) if count <= INDEXED else np.sort(rng.choice(count, INDEXED, replace=False))
        )
    return kept


def _by_label(flat: Labels) -> dict[int, NDArray[np.intp]]:
    """The places of each label in a piece, rising; background is left out."""
    places = np.flatnonzero(flat)
    values = flat[places]
    order = np.argsort(values, kind="stable")  # by radix, for bytes
    places, values = places[order], values[order]
    starts = np.flatnonzero(np.diff(values, prepend=0))
    parts = np.split(places, starts[1:]) if len(starts) else []
    return {int(values[start]): part for start, part in zip(starts, parts, strict=True)}
