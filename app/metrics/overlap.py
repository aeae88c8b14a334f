"""How two label maps overlap: one pass over the voxels, whatever the number of labels."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 2**20  # voxels whose pairs are counted at once, in 64 bits

Labels = NDArray[np.integer]
Targets = Mapping[str, tuple[int, ...]]
"""What is scored, and the label values it is made of."""


def dice_by_target(
    predicted: Labels, reference: Labels, targets: Targets, ignore: int | None = None
) -> dict[str, float | None]:
    """Return the Dice of each target, None if neither map has it; voxels of `ignore` do not count."""
    counts = pair_counts(predicted, reference)
    if ignore is not None:
        counts[ignore : ignore + 1] = 0
    found: dict[str, float | None] = {}
    for name, values in targets.items():
        known = [value for value in values if value < len(counts)]
        total = int(counts[known].sum() + counts[:, known].sum())
        found[name] = 2 * int(counts[np.ix_(known, known)].sum()) / total if total else None
    return found


def pair_counts(predicted: Labels, reference: Labels) -> NDArray[np.int64]:
    """Voxels by (reference value, predicted value)."""
    classes = 1 + max(int(predicted.max(initial=0)), int(reference.max(initial=0)))
    counts = np.zeros(classes**2, dtype=np.int64)
    layers = max(1, _AT_ONCE // max(1, int(np.prod(predicted.shape[1:]))))
    for start in range(0, len(predicted), layers):
        ours, theirs = (labels[start : start + layers].ravel() for labels in (predicted, reference))
        counts += np.bincount(theirs.astype(np.int64) * classes + ours, minlength=classes**2)
    return counts.reshape(classes, classes)
