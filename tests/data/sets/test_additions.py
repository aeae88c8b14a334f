import json
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.data.sets.additions import next_file, with_additions
from app.data.sets.decathlon import TaskFile, read_task, read_task_file, task_of
from tests.support.volumes import MakeTask


@pytest.fixture
def known(make_task: MakeTask) -> TaskFile:
    folder = make_task(cases=3)
    facts = json.loads((folder / "dataset.json").read_text())
    facts["training"][1]["annotated"] = ["blob"]
    (folder / "dataset.json").write_text(json.dumps(facts))
    return read_task_file(folder)


def masks(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.nii.gz").touch()
    return folder


def test_a_label_map_replaces_that_of_its_case_or_makes_a_new_case(known: TaskFile, tmp_path: Path) -> None:
    scan = tmp_path / "inbox" / "image.nii.gz"
    scan.parent.mkdir()
    scan.touch()
    corrected = masks(known.folder / "corrected", "blob_002", "patient_7")
    facts, new, changed = with_additions(known, corrected, {"patient_7": scan, "other": scan}, {})
    assert (new, changed, facts["numTraining"]) == (["patient_7"], ["blob_002"], 4)
    task = task_of(TaskFile(known.folder, known.path, facts))
    assert [case.id for case in task.cases] == ["blob_001", "blob_002", "blob_003", "patient_7"]
    second, last = task.cases[1], task.cases[3]
    assert second.label == known.folder / "corrected" / "blob_002.nii.gz" and second.annotated == (1,)
    assert (last.image, last.label) == (scan.resolve(), known.folder / "corrected" / "patient_7.nii.gz")
    assert facts["training"][1]["label"] == "./corrected/blob_002.nii.gz"  # moves with the folder
    assert len(read_task(known.folder).cases) == 3  # as it was


def test_a_label_map_without_a_scan_is_refused(known: TaskFile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"check\.scans") as error:
        with_additions(known, masks(tmp_path / "a", "blob_001", "patient_7"), {"patient_8": tmp_path}, {})
    assert "patient_7" in str(error.value) and "blob_001" not in str(error.value)
    for folder in (masks(tmp_path / "empty"), tmp_path / "none"):
        with pytest.raises(InputError, match=r"check\.add") as error:
            with_additions(known, folder, {}, {})
        assert str(folder) in str(error.value)


def test_files_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.touch()
    assert next_file(path).name == "dataset_2.json"
    next_file(path).touch()
    assert next_file(path).name == next_file(tmp_path / "dataset_2.json").name == "dataset_3.json"


def test_a_label_map_called_as_results_call_its_case_corrects_it(known: TaskFile, tmp_path: Path) -> None:
    corrected = masks(tmp_path / "corrected", "scan_a1", "blob_003")
    facts, new, changed = with_additions(known, corrected, {}, {"scan_a1": "blob_002"})
    assert (new, changed) == ([], ["blob_003", "blob_002"])
    assert facts["training"][1]["label"] == str(corrected / "scan_a1.nii.gz")
    assert "id" not in facts["training"][1]
    masks(tmp_path / "twice", "scan_a1", "blob_002")
    with pytest.raises(InputError, match=r"check\.add") as error:
        with_additions(known, tmp_path / "twice", {}, {"scan_a1": "blob_002"})
    assert "scan_a1" in str(error.value) and "blob_002" in str(error.value)
