"""Lesions (connected components of a label) and their matching between prediction and reference.

Voxels that touch at a corner belong to the same lesion. Lesions are paired one to one by their intersection
over union (IoU), as MONAI's compute_panoptic_quality pairs instances.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from app.metrics.metric import Mask

DETECTED_IOU = 0.1
"""IoU above which a paired lesion counts as detected; low, because small lesions rarely reach 0.5."""
_PANOPTIC_IOU = 0.5  # Kirillov et al., CVPR 2019: above 0.5, pairs are unique

_TOUCHING = np.ones((3, 3, 3), dtype=np.int8)


@dataclass(frozen=True)
class LesionCounts:
    """The counts of lesions in both masks, and voxels of lesions that overlap no lesion of the other mask."""

    reference: int
    predicted: int
    detected: int
    panoptic_quality: float | None
    """Sum of IoU over pairs above 0.5, divided by the mean number of lesions; None if there is no lesion."""
    false_positive_voxels: int
    false_negative_voxels: int

    @property
    def false_positives(self) -> int:
        """Number of predicted lesions that detect no lesion of the reference."""
        return self.predicted - self.detected

    @property
    def sensitivity(self) -> float | None:
        """Share of the reference's lesions that are detected; None if there are none."""
        return self.detected / self.reference if self.reference else None

    @property
    def f1(self) -> float | None:
        """Detected lesions divided by the mean number of lesions in both masks; None if there is none."""
        total = self.reference + self.predicted
        return 2 * self.detected / total if total else None


def match_lesions(predicted: Mask, reference: Mask) -> LesionCounts:
    """Find and pair the lesions of two masks (D, H, W)."""
    ours, predicted_count = ndimage.label(predicted, _TOUCHING)
    theirs, reference_count = ndimage.label(reference, _TOUCHING)
    shared = (ours > 0) & (theirs > 0)
    codes = theirs[shared].astype(np.int64) * (predicted_count + 1) + ours[shared]
    found, voxels = np.unique(codes, return_counts=True)
    pairs = np.stack(np.divmod(found, predicted_count + 1))
    sizes = [np.bincount(labelled.ravel(), minlength=1)[1:] for labelled in (theirs, ours)]
    ious = voxels / (sizes[0][pairs[0] - 1] + sizes[1][pairs[1] - 1] - voxels)
    total = (predicted_count + reference_count) / 2
    return LesionCounts(
        reference=reference_count,
        predicted=predicted_count,
        detected=_detected(pairs, ious),
        panoptic_quality=float(ious[ious > _PANOPTIC_IOU].sum()) / total if total else None,
        false_positive_voxels=_alone(sizes[1], pairs[1]),
        false_negative_voxels=_alone(sizes[0], pairs[0]),
    )


def _detected(pairs: NDArray[np.int64], ious: NDArray[np.float64]) -> int:
    """Return the number of pairs above the threshold in the assignment with the highest sum of IoU."""
    if not ious.size:
        return 0
    (rows, row), (columns, column) = (np.unique(side, return_inverse=True) for side in pairs)
    matrix = np.zeros((len(rows), len(columns)))
    matrix[row, column] = ious
    return int((matrix[optimize.linear_sum_assignment(-matrix)] > DETECTED_IOU).sum())


def _alone(sizes: NDArray[np.intp], overlapping: NDArray[np.int64]) -> int:
    """Return the number of voxels of lesions that overlap no other."""
    return int(sizes.sum() - sizes[np.unique(overlapping) - 1].sum())
