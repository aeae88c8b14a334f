import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from app.core.errors import InputError
from app.core.reading import BY_SUFFIX
from app.data.sets.decathlon import read_task
from app.data.sets.relabel import relabelled
from app.io.scan_paths import scan_files
from app.io.volumes import read_volume

PLAIN = {"background": 0, "organ": 1, "vessel": 2}


def write(root: Path, labels: dict[str, Any], channels: int = 2, **facts: Any) -> Path:
    """A raw data folder of two cases, whose channels hold their own numbers."""
    folder = root / "Dataset001_Blobs"
    for case in ("a_1", "b"):
        for number in range(channels):
            save(folder / "imagesTr" / f"{case}_{number:04d}.nii.gz", np.full((4, 4, 4), number, np.float32))
        save(folder / "labelsTr" / f"{case}.nii.gz", np.ones((4, 4, 4), np.uint8))
    named = {str(number): f"T{number}" for number in range(channels)}
    whole = {"channel_names": named, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz", **facts}
    (folder / "dataset.json").write_text(json.dumps(whole))
    return folder


def save(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)


def test_cases_have_their_channels_in_order(tmp_path: Path) -> None:
    task = read_task(write(tmp_path, PLAIN))
    assert (task.modalities, task.labels, task.label_values) == (("T0", "T1"), tuple(PLAIN), (0, 1, 2))
    assert [case.id for case in task.cases] == ["a_1", "b"] and task.reading.channels == BY_SUFFIX
    for case in task.cases:
        assert [file.name for file in scan_files(case.image)] == [f"{case.id}_000{n}.nii.gz" for n in (0, 1)]
        np.testing.assert_array_equal(read_volume(case.image, task.reading).voxels[:, 0, 0, 0], [0, 1])


def test_regions_and_the_ignored_label_are_the_task_s(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 4], "core": [2, 4], "active": [4], "ignore": 5}
    folder = write(tmp_path, labels, channels=1, regions_class_order=[1, 2, 4])
    task = read_task(folder)
    assert task.label_values == (0, 1, 2, 4, 5) and task.ignore == 4 and task.segmented[0] == "background"
    assert task.regions == {"whole": (1, 2, 3), "core": (2, 3), "active": (3,)}
    without = relabelled(task, None, [4])
    assert without.regions == {"whole": (1, 2), "core": (2,)} and without.values_in_files(3) == (4, 5)
    other = relabelled(task, {"core": [2, 4]}, [])
    assert other.regions == {} and other.ignore == 2 and other.values_in_files(2) == (5,)


@pytest.mark.parametrize(
    ("changed", "tokens"),
    [
        ({"channel_names": 2}, ["channel_names", "2"]),
        ({"channel_names": {}}, ["channel_names"]),
        ({"labels": {**PLAIN, "again": 2}}, ["labels", "again"]),
        ({"labels": {**PLAIN, "both": [1, 2]}, "regions_class_order": ["1", 2]}, ["regions_class_order"]),
        ({"file_ending": ".png"}, ["file_ending", "'.png'", ".nii.gz"]),
        ({"channel_names": {"0": "T1", "2": "T2"}}, ["channel_names"]),
        ({"channel_names": {"0": "T0", "1": "T1", "2": "T2"}}, ["a_1", "3 files", "_0002"]),
        ({"labels": {"organ": 1}}, ["labels", "background"]),
        ({"labels": {"background": 0, "organ": 2, "ignore": 1}}, ["ignore", "[1]"]),
        ({"labels": {"background": 0, "organ": "1"}}, ["organ", "'1'"]),
        (
            {"labels": {"background": 0, "all": [1, 2], "core": [2]}},
            ["regions_class_order", "None", "[1, 2]"],
        ),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], tokens: list[str], tmp_path: Path) -> None:
    folder = write(tmp_path, PLAIN)
    facts = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**facts, **changed}))
    with pytest.raises(InputError) as error:
        read_task(folder)
    for token in (str(folder), *tokens):
        assert token in str(error.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, PLAIN)
    (folder / "imagesTr" / "b_0000.nii.gz").rename(folder / "imagesTr" / "b_0002.nii.gz")
    with pytest.raises(InputError, match=r"imagesTr: b:"):
        read_task(folder)
    (folder / "imagesTr" / "b_0002.nii.gz").rename(folder / "imagesTr" / "b_0000.nii.gz")
    (folder / "labelsTr" / "b.nii.gz").unlink()
    with pytest.raises(InputError, match=r"labelsTr: .*b\.nii\.gz"):
        read_task(folder)


def test_an_ending_in_capitals_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path, PLAIN, file_ending=".NII.GZ")
    for path in list(folder.rglob("*.nii.gz")):
        path.rename(path.with_name(path.name.replace(".nii.gz", ".NII.GZ")))
    task = read_task(folder)
    for case in task.cases:
        assert len(scan_files(case.image)) == 2
        np.testing.assert_array_equal(read_volume(case.image, task.reading).voxels[:, 0, 0, 0], [0, 1])
