"""Cases of runs and of any files, on the grid of their scan."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from app.core.errors import InputError
from app.core.files import read_json, write_json, write_text
from app.core.reading import Reading
from app.io.volumes import write_voxels
from app.view.opened import case_of_files, case_of_run
from app.view.viewed_case import PREDICTION, REFERENCE
from tests.support.runs import HOSTILE, make_run, write_volume


def test_the_worst_case_of_a_run_or_the_one_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    worst, named = case_of_run(run, None), case_of_run(run, "case_c")
    assert worst.title.endswith("case_b") and named.title.endswith("case_c")
    assert named.targets == {"one": (1,), HOSTILE: (2,)} and named.scan.voxels.shape == (2, 12, 14, 10)
    reference, prediction = (named.maps[role].voxels for role in (REFERENCE, PREDICTION))
    np.testing.assert_array_equal(np.roll(reference, 1, axis=2), prediction)
    assert reference[7, 4, 3] == 2


def test_case_that_is_renamed_for_privacy_is_found_in_the_data_set(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    listed = [
        {"image": f"case_{letter}_image.nii.gz", "label": f"case_{letter}_label.nii.gz"} for letter in "abc"
    ]
    facts = {"modality": {"0": "CT", "1": "PET"}, "labels": {"0": "background", "1": "one", "2": "two"}}
    write_json(tmp_path / "run" / "dataset.json", {**facts, "training": listed})
    places = {f"case_{letter}": {"dataset": "dataset.json", "position": n} for n, letter in enumerate("abc")}
    split = read_json(run / "split.json")
    write_json(run / "split.json", {**split, "folder": str(run), "files": places})
    case = case_of_run(run, "case_c")
    assert case.title.endswith("case_c") and case.maps[REFERENCE].voxels[7, 4, 3] == 2
    (run / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"dataset\.json"):
        case_of_run(run, "case_c")


def test_channels_are_ordered_by_the_modalities_of_the_run(tmp_path: Path) -> None:
    run, scan = make_run(tmp_path / "run"), tmp_path / "scan"
    for value, name in enumerate(("b_T1", "a_T2")):
        write_volume(scan / f"{name}.nii.gz", np.full((12, 14, 10), value, np.float32))
    write_text(run / "config.yaml", "task: {channels: modality}")
    split = read_json(run / "split.json")
    split["files"]["case_a"]["image"] = str(scan)
    write_json(run / "split.json", {**split, "modalities": ["T1", "T2"]})
    assert case_of_run(run, "case_a").scan.voxels.mean(axis=(1, 2, 3)).tolist() == [0, 1]


def test_dicom_reference_of_a_run_with_regions(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from app.infer.batch.dicom_sources import scan_frames
    from app.infer.batch.rtstruct import write_rtstruct
    from tests.support.dicom import a_scan, save, slices

    scan, run = save(tmp_path / "scan", slices(a_scan())), make_run(tmp_path / "run")
    classes = np.zeros((9, 8, 6), np.uint8)
    classes[1:4, 1:6, 2], classes[5:8, 1:6, 3] = 1, 2
    write_rtstruct(tmp_path / "s.dcm", classes, ("background", "core", "rim"), scan_frames(scan, Reading()))
    write_voxels(run / "predictions" / "case_a.nii.gz", classes, like=scan)
    summary = read_json(run / "summary.json")
    write_json(run / "summary.json", {**summary, "dice": {"whole": 1.0}})
    files = {"case_a": {"image": str(scan), "label": str(tmp_path / "s.dcm")}}
    known = {"labels": ["background", "core", "rim"], "regions": {"whole": [1, 2]}}
    write_json(run / "split.json", {**read_json(run / "split.json"), "files": files, **known})
    case = case_of_run(run, "case_a")
    np.testing.assert_array_equal(case.maps[REFERENCE].voxels, classes)
    assert case.targets == {"whole": (1, 2)}


def test_cases_and_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"case_x.*case_a, case_b, case_c"):
        case_of_run(run, "case_x")
    (run / "case_a_label.nii.gz").unlink()
    with pytest.raises(InputError, match="case_a_label"):
        case_of_run(run, "case_a")


def test_a_dicom_series_with_a_label_map_whose_axes_are_turned(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from tests.support.dicom import TO_MM, a_scan, save, slices

    voxels = a_scan()
    folder = save(tmp_path / "series", slices(voxels, TO_MM))
    labels = (voxels > 0).astype(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels.transpose(2, 1, 0)[::-1]))
    image.SetSpacing((2, 2, 4))
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    image.SetOrigin((-30, -28, -20 + 4 * 5))
    sitk.WriteImage(image, str(tmp_path / "labels.nrrd"))
    case = case_of_files(folder, [tmp_path / "labels.nrrd"])
    order = np.abs(case.scan.affine[:3, :3]).argmax(axis=0)
    np.testing.assert_array_equal(case.maps[PREDICTION].voxels, case.scan.voxels[0] > 0)
    assert list(case.maps) == [PREDICTION] and sorted(order) == [0, 1, 2]


def test_maps_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "scan.nii.gz", np.zeros((4, 5, 6), np.float32))
    write_volume(tmp_path / "small.nii.gz", np.zeros((4, 5, 5), np.uint8))
    write_volume(tmp_path / "half.nii.gz", np.full((4, 5, 6), 0.5, np.float32))
    with pytest.raises(InputError, match=r"\(4, 5, 5\).*\(4, 5, 6\)"):
        case_of_files(tmp_path / "scan.nii.gz", [tmp_path / "small.nii.gz"])
    with pytest.raises(InputError, match=r"half.*0\.5"):
        case_of_files(tmp_path / "scan.nii.gz", [tmp_path / "half.nii.gz"])
    with pytest.raises(InputError, match="3 label maps"):
        case_of_files(tmp_path / "scan.nii.gz", [tmp_path / "small.nii.gz"] * 3)
