"""A repaired copy of a data set."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.errors import InputError
from app.core.reading import Reading
from app.data.doctor.repair import repair_task
from app.data.sets.decathlon import read_task, read_task_file
from tests.support.cli import no_room
from tests.support.edited import IMAGE, LABEL, TURN, change, check, kinds, move, set_voxel, shifted
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e


def test_a_copy_that_cannot_be_written_is_one_line_and_leaves_nothing(
    make_task: MakeTask, tmp_path: Path
) -> None:
    source = make_task(cases=3)
    _, checked = check(source)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written"):
        repair_task(read_task_file(source), checked, tmp_path / "file" / "copy", Reading())
    with no_room(1000), pytest.raises(InputError, match=r"cannot be written"):
        repair_task(read_task_file(source), checked, tmp_path / "copy", Reading())
    assert {path.name for path in tmp_path.iterdir()} == {source.name, "file"}


def test_a_repaired_copy_is_sound_and_the_source_untouched(make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=5)
    change(folder / "imagesTr/blob_001.nii.gz", set_voxel(np.nan))
    move(folder / LABEL, shifted(0.6))
    change(folder / "labelsTr/blob_003.nii.gz", lambda v: v * 1.004)
    change(folder / "labelsTr/blob_004.nii.gz", np.copy)
    before = {path: path.read_bytes() for path in folder.rglob("*.gz")}
    _, checked = check(folder)
    assert repair_task(read_task_file(folder), checked, tmp_path / "copy", Reading()) == 4
    task, repaired = check(tmp_path / "copy")
    assert repaired.findings == {} and len(task.cases) == 5
    assert {path: path.read_bytes() for path in folder.rglob("*.gz")} == before
    image = np.asarray(nib.load(tmp_path / "copy/imagesTr/blob_001.nii.gz").dataobj)
    assert image[3, 4, 5] == np.nanmin(np.asarray(nib.load(folder / "imagesTr/blob_001.nii.gz").dataobj))
    for target in (tmp_path / "copy", folder / "copy"):  # one that exists, one inside the source
        with pytest.raises(InputError, match=r"check\.repair") as error:
            repair_task(read_task_file(folder), checked, target, Reading())
        assert str(target) in str(error.value)


def test_a_copy_keeps_ids_and_what_each_case_annotates(make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=3)
    facts = json.loads((folder / "dataset.json").read_text())
    facts["labels"]["2"] = "other"
    facts["training"][0]["annotated"] = ["blob"]
    facts["training"][1] |= {"id": "patient_7", "annotated": ["blob", "other"]}
    (folder / "dataset.json").write_text(json.dumps(facts))
    task, checked = check(folder)
    repair_task(read_task_file(folder), checked, tmp_path / "copy", Reading())
    copied = read_task(tmp_path / "copy")
    wanted = {case.id: case.annotated for case in task.cases}
    assert (
        {case.id: case.annotated for case in copied.cases}
        == wanted
        == {"blob_001": (1,), "patient_7": (1, 2), "blob_003": None}
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_label_beside_its_scan_and_turned_is_repaired_by_both(
    make_task: MakeTask, tmp_path: Path, dtype: type
) -> None:
    """Turned first, then given the scan's geometry: the voxels stay on the anatomy."""
    folder = make_task(cases=3)
    drawn = np.asarray(nib.load(folder / LABEL).dataobj)
    change(folder / LABEL, np.copy, dtype)
    move(folder / LABEL, shifted(0.6))
    nib.save(nib.load(folder / LABEL).as_reoriented(TURN), folder / LABEL)
    _, checked = check(folder)
    assert {"other_grid", "other_orientation"} <= kinds(checked)
    repair_task(read_task_file(folder), checked, tmp_path / "copy", Reading())
    repaired = nib.load(tmp_path / "copy" / LABEL)
    np.testing.assert_array_equal(np.asarray(repaired.dataobj), drawn)
    np.testing.assert_allclose(repaired.affine, nib.load(folder / IMAGE).affine)
    assert check(tmp_path / "copy")[1].findings == {}


@pytest.mark.parametrize(("value", "kind"), [(300.0, "unknown_labels"), (0.4, "fractional_labels")])
def test_values_that_only_a_guess_could_mend_are_kept(
    make_task: MakeTask, tmp_path: Path, value: float, kind: str
) -> None:
    folder = make_task(cases=3)
    change(folder / LABEL, set_voxel(value))
    move(folder / LABEL, shifted(0.6))
    _, checked = check(folder)
    repair_task(read_task_file(folder), checked, tmp_path / "copy", Reading())
    assert np.asarray(nib.load(tmp_path / "copy" / LABEL).dataobj)[3, 4, 5] == np.float32(value)
    assert kind in kinds(check(tmp_path / "copy")[1])
