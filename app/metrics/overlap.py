"""Overlap of two label maps, counted in one pass over the voxels, and boxes, for any number of labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_AT_ONCE = 2**20  # voxels counted at once, as pairs are 64-bit integers

IntegerMap = NDArray[np.integer]
Box = tuple[slice, ...]
LabelGroups = Mapping[str, tuple[int, ...]]
"""The scored targets by name, each with its label values."""


@dataclass(frozen=True)
class VoxelCounts:
    """The voxels of one target: in both maps, in the prediction, in the reference."""

    both: int
    predicted: int
    reference: int

    @property
    def dice(self) -> float | None:
        """Twice the overlap divided by the sum of both volumes; None if the reference is empty."""
        return 2 * self.both / (self.predicted + self.reference) if self.reference else None

    @property
    def iou(self) -> float | None:
        """The overlap divided by the union; None if the reference is empty."""
        union = self.predicted + self.reference - self.both
        return self.both / union if self.reference else None

    @property
    def sensitivity(self) -> float | None:
        """Share of the reference that is predicted; None if the reference is empty."""
        return self.both / self.reference if self.reference else None

    @property
    def precision(self) -> float | None:
        """Share of the prediction that is correct; 0 if it is empty; None if the reference is empty."""
        return self.both / max(self.predicted, 1) if self.reference else None

    @property
    def volume_error(self) -> float | None:
        """Difference of predicted and reference volume, relative to the reference; None if that is empty."""
        return (self.predicted - self.reference) / self.reference if self.reference else None


def overlaps(
    predicted: IntegerMap, reference: IntegerMap, targets: LabelGroups, ignore: int | None = None
) -> dict[str, VoxelCounts]:
    """Count the voxels of each target in maps of one shape; skip voxels whose reference is `ignore`."""
    pairs = pair_counts(predicted, reference)
    if ignore is not None:
        pairs[ignore : ignore + 1] = 0
    found = {}
    for name, values in targets.items():
        known = [value for value in values if value < len(pairs)]
        inside = pairs[np.ix_(known, known)].sum()
        found[name] = VoxelCounts(int(inside), int(pairs[:, known].sum()), int(pairs[known].sum()))
    return found


def dice_by_target(
    predicted: IntegerMap, reference: IntegerMap, targets: LabelGroups, ignore: int | None = None
) -> dict[str, float | None]:
    """Return the Dice of each target; None if the reference lacks it."""
    return {name: found.dice for name, found in overlaps(predicted, reference, targets, ignore).items()}


def pair_counts(predicted: IntegerMap, reference: IntegerMap) -> NDArray[np.int64]:
    """Return the numbers of voxels by (reference value, predicted value)."""
    classes = 1 + max(int(predicted.max(initial=0)), int(reference.max(initial=0)))
    counts = np.zeros(classes**2, dtype=np.int64)
    layers = max(1, _AT_ONCE // max(1, int(np.prod(predicted.shape[1:]))))
    for start in range(0, len(predicted), layers):
        ours, theirs = (labels[start : start + layers].ravel() for labels in (predicted, reference))
        counts += np.bincount(theirs.astype(np.int64) * classes + ours, minlength=classes**2)
    return counts.reshape(classes, classes)


def boxes_of(predicted: IntegerMap, reference: IntegerMap, targets: LabelGroups) -> dict[str, Box | None]:
    """Return the box around each target in both maps; None if neither has it."""
    found = [ndimage.find_objects(labels) for labels in (predicted, reference)]
    return {
        name: _around(boxes[value - 1] for boxes in found for value in values if value <= len(boxes))
        for name, values in targets.items()
    }


def _around(boxes: Iterable[Box | None]) -> Box | None:
    known = [box for box in boxes if box is not None]
    return reduce(_union, known) if known else None


def _union(one: Box, other: Box) -> Box:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
