"""Lesions by hand, and value by value as MONAI pairs instances."""

import numpy as np
import pytest
import torch
from monai.metrics.panoptic_quality import compute_panoptic_quality
from scipy import ndimage

from app.metrics.lesions import DETECTED_IOU, match_lesions
from app.metrics.metric import Mask


def mask(*boxes: tuple[int, int]) -> Mask:
    """Voxels along one axis from first to stop."""
    found = np.zeros((3, 3, 40), dtype=bool)
    for first, stop in boxes:
        found[1, 1, first:stop] = True
    return found


def test_detected_missed_and_false_lesions() -> None:
    reference, predicted = mask((0, 10), (15, 20), (30, 34)), mask((0, 8), (19, 24), (26, 28), (30, 34))
    found = match_lesions(predicted, reference)
    # IoU .8, 1/9 and 1; the lesion from 26 is false.
    assert (found.reference, found.predicted, found.detected, found.false_positives) == (3, 4, 3, 1)
    assert found.sensitivity == 1.0 and found.f1 == pytest.approx(6 / 7)
    assert found.panoptic_quality == pytest.approx((0.8 + 1.0) / 3.5)
    assert (found.false_positive_voxels, found.false_negative_voxels) == (2, 0)


def test_nothing_one_voxel_and_a_miss() -> None:
    nothing, voxel = mask(), mask((5, 6))
    empty = match_lesions(nothing, nothing)
    assert (empty.f1, empty.sensitivity, empty.panoptic_quality) == (None, None, None)
    assert match_lesions(voxel, voxel).f1 == 1.0 == match_lesions(voxel, voxel).panoptic_quality
    missed = match_lesions(nothing, voxel)
    assert (missed.f1, missed.sensitivity, missed.panoptic_quality) == (0.0, 0.0, 0.0)
    assert missed.false_negative_voxels == 1
    alarm = match_lesions(voxel, nothing)
    assert (alarm.sensitivity, alarm.false_positives, alarm.false_positive_voxels) == (None, 1, 1)


def test_one_lesion_detects_one_other_and_corners_touch() -> None:
    joined = match_lesions(mask((0, 10)), mask((0, 4), (6, 10)))
    assert (joined.detected, joined.false_positives, joined.sensitivity) == (1, 0, 0.5)
    corner = np.zeros((4, 4, 4), dtype=bool)
    corner[1, 1, 1], corner[2, 2, 2] = True, True
    assert match_lesions(corner, corner).reference == 1


@pytest.mark.parametrize("seed", range(6))
def test_as_monai_on_random_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(20, 20, 20)), 1.3)
    change = ndimage.gaussian_filter(rng.normal(size=(20, 20, 20)), 1.3)
    reference, predicted = field > 0.12, field + 0.5 * change > 0.13
    found = match_lesions(predicted, reference)
    instances = [
        torch.from_numpy(ndimage.label(mask, np.ones((3, 3, 3)))[0]) for mask in (predicted, reference)
    ]
    counts = compute_panoptic_quality(
        *instances, match_iou_threshold=DETECTED_IOU, output_confusion_matrix=True
    ).tolist()
    assert found.predicted > 3
    missed = found.reference - found.detected
    assert [found.detected, found.false_positives, missed] == counts[:3]
    expected = compute_panoptic_quality(*instances, smooth_numerator=0).item()
    assert found.panoptic_quality == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_stray_lesions_as_scikit_image_on_random_masks(seed: int) -> None:
    label = pytest.importorskip("skimage.measure").label
    masks = (
        ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(2, 18, 17, 16)), (0, 1, 1, 1)) > 0.2
    )
    stray = []
    for mask, other in (masks, masks[::-1]):
        lesions = label(mask, connectivity=3)
        stray.append(int((mask & ~np.isin(lesions, lesions[mask & other])).sum()))
    found = match_lesions(*masks)
    assert [found.false_positive_voxels, found.false_negative_voxels] == stray and min(stray) > 0
