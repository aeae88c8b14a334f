"""Volumes that are sent equal those of the files; volumes in ml, Dice and difference are right."""

import nibabel as nib
import numpy as np
import pytest

from app.io.volumes import LabelMap, Volume
from app.view.viewed_case import (
    EXTRA,
    MISSED,
    OTHER,
    PREDICTION,
    REFERENCE,
    ViewedCase,
    compact,
    difference_map,
    show,
)

AFFINE = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
REF = np.zeros((6, 5, 4), np.uint16)
REF[1:3, 1:4, 1:3] = 1
REF[4, 1:4, 1:3] = 7
PRED = np.roll(REF, 1, axis=1)
PRED[1, 2, 1] = 7


def a_case(**changes: object) -> ViewedCase:
    voxels = np.random.default_rng(0).integers(-1000, 3000, (2, *REF.shape)).astype(np.float32)
    voxels[1] += 0.5
    maps = {REFERENCE: LabelMap(AFFINE, REF), PREDICTION: LabelMap(AFFINE, PRED)}
    known = {"scan": Volume(AFFINE, voxels), "maps": maps, "targets": {"organ": (1,)}, "ignore": None}
    return ViewedCase("a case", **{**known, **changes})  # type: ignore[arg-type]


def read(data: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(data)


def test_sent_volumes_have_the_voxels_and_the_geometry_of_the_scan() -> None:
    case = a_case()
    files, facts = show(case)
    assert list(files) == ["scan-0.nii", "scan-1.nii", "reference.nii", "prediction.nii", "difference.nii"]
    wanted = [*case.scan.voxels, REF, PRED, difference_map(REF, PRED)]
    for data, voxels in zip(files.values(), wanted, strict=True):
        image = read(data)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)
        np.testing.assert_allclose(image.affine, AFFINE)
    types = [read(data).get_data_dtype().name for data in files.values()]
    assert types == ["int16", "float32", "uint8", "uint8", "uint8"]
    assert facts["maps"] == ["reference", "prediction", "difference"]


def test_difference_has_missed_extra_and_other_voxels_but_not_ignored_ones() -> None:
    reference = np.array([0, 1, 1, 0, 2, 9])
    predicted = np.array([0, 1, 0, 2, 1, 1])
    assert difference_map(reference, predicted).tolist() == [0, 0, MISSED, EXTRA, OTHER, OTHER]
    assert difference_map(reference, predicted, 9).tolist() == [0, 0, MISSED, EXTRA, OTHER, 0]


def test_labels_have_names_volumes_and_dice() -> None:
    _, facts = show(a_case())
    organ, nameless = facts["labels"]
    assert (organ["name"], organ["values"], nameless["name"], nameless["values"]) == (
        *("organ", [1]),
        *("label 7", [7]),
    )
    assert organ["ml"] == pytest.approx({"reference": 12 * 9 / 1000, "prediction": 11 * 9 / 1000})
    assert organ["dice"] == pytest.approx(2 * 7 / (12 + 11)) and organ["color"] != nameless["color"]
    wrong = difference_map(REF, PRED)
    assert facts["difference_ml"][1:] == pytest.approx([np.sum(wrong == n) * 9 / 1000 for n in (1, 2, 3)])
    start = np.rint(np.linalg.inv(AFFINE) @ (*facts["start_mm"], 1))[:3].astype(int)
    assert wrong[tuple(start)] > 0


def test_ignored_voxels_are_in_no_volume_and_no_dice() -> None:
    reference = REF.copy()
    reference[1:3, 3, 1:3] = 9  # 4 of the 12 voxels of the organ, and of the prediction's
    maps = {REFERENCE: LabelMap(AFFINE, reference), PREDICTION: LabelMap(AFFINE, PRED)}
    _, facts = show(a_case(maps=maps, ignore=9, targets={"organ": (1,), "lesion": (7,)}))
    organ, _, ignored = facts["labels"]
    judged = (reference != 9) & (PRED == 1)
    wanted = {"reference": 8 * 9 / 1000, "prediction": np.sum(judged) * 9 / 1000}
    assert organ["ml"] == pytest.approx(wanted) and np.sum(judged) < np.sum(PRED == 1)
    assert organ["dice"] == pytest.approx(2 * np.sum(judged & (reference == 1)) / (8 + np.sum(judged)))
    assert ignored["name"] == "label 9 (ignored)" and ignored["ml"] == {"reference": 0, "prediction": 0}
    assert ignored["dice"] is None


def test_large_values_are_sent_as_positions_in_the_list_of_values() -> None:
    large = np.where(REF == 7, 60_000, REF).astype(np.uint16)
    files, facts = show(a_case(maps={PREDICTION: LabelMap(AFFINE, large)}))
    assert np.unique(np.asanyarray(read(files["prediction.nii"]).dataobj)).tolist() == [0, 1, 2]
    assert [(label["name"], label["values"]) for label in facts["labels"]] == [
        ("organ", [1]),
        ("label 60000", [2]),
    ]
    assert facts["difference_ml"] is None and "difference.nii" not in files


def test_voxels_are_packed_only_if_nothing_changes() -> None:
    for values, kind in (([-5, 7], "int16"), ([0, 40_000], "uint16"), ([0, 70_000], "float32")):
        assert compact(np.array(values, np.float32)).dtype.name == kind
    for odd in (0.5, np.nan, np.inf):
        assert compact(np.array([1, odd], np.float32)).dtype.name == "float32"
    scan = Volume(AFFINE, np.zeros((1, *REF.shape), np.float32))
    assert show(a_case(scan=scan, maps={}))[1]["labels"] == [
        {"name": "organ", "color": "#56B4E9", "values": [1], "ml": {}, "dice": None}
    ]
