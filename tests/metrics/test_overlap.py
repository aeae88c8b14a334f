import numpy as np
import pytest

from app.metrics.overlap import dice_by_target, overlaps, pair_counts

PREDICTED = np.array([0, 1, 2, 3, 3, 1], dtype=np.uint8)
REFERENCE = np.array([0, 1, 3, 3, 2, 4], dtype=np.uint8)
TARGETS = {"whole": (1, 2, 3), "core": (2, 3), "3": (3,), "5": (5,)}


def test_regions_overlap_and_ignored_voxels_count_nowhere() -> None:
    found = overlaps(PREDICTED, REFERENCE, TARGETS)
    assert {name: (one.both, one.predicted, one.reference) for name, one in found.items()} == {
        "whole": (4, 5, 4),
        "core": (3, 3, 3),
        "3": (1, 2, 2),
        "5": (0, 0, 0),
    }
    ignoring = overlaps(PREDICTED, REFERENCE, TARGETS, 4)
    assert ignoring["whole"].predicted == 4 and ignoring["whole"].dice == 1.0


def test_a_missed_label_has_the_worst_values_and_an_absent_one_has_none() -> None:
    nothing, label = np.zeros(4, dtype=np.uint8), np.array([0, 1, 1, 0], dtype=np.uint8)
    missed = overlaps(nothing, label, {"1": (1,)})["1"]
    assert (missed.dice, missed.sensitivity, missed.precision, missed.volume_error) == (0.0, 0.0, 0.0, -1.0)
    for predicted in (nothing, label):
        absent = overlaps(predicted, nothing, {"1": (1,)})["1"]
        assert (absent.dice, absent.sensitivity, absent.precision, absent.volume_error) == (None,) * 4
    assert (missed.iou, absent.iou) == (0.0, None)
    assert dice_by_target(label, label, {"1": (1,)}) == {"1": 1.0}


def test_counts_equal_those_of_masks_on_random_maps_whatever_their_type() -> None:
    rng = np.random.default_rng(0)
    predicted, reference = (rng.integers(0, 300, (7, 9, 11)).astype(np.uint16) for _ in range(2))
    counts = pair_counts(predicted, reference)
    assert counts.sum() == predicted.size
    assert counts[1, 2] == np.count_nonzero((predicted == 2) & (reference == 1))
    found = overlaps(predicted, reference, {"a": (1, 299), "b": (7,)})
    for name, values in {"a": (1, 299), "b": (7,)}.items():
        ours, theirs = np.isin(predicted, values), np.isin(reference, values)
        counts = (int((ours & theirs).sum()), int(ours.sum()), int(theirs.sum()))
        assert (found[name].both, found[name].predicted, found[name].reference) == counts
    half = overlaps(np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0]), {"1": (1,)})["1"]
    assert half.dice == pytest.approx(0.8) and half.precision == pytest.approx(2 / 3)
    assert half.sensitivity == 1.0 and half.volume_error == 0.5 and half.iou == pytest.approx(2 / 3)
