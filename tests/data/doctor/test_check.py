"""Every kind of fault, planted in an otherwise sound data set, is found; sound data raise no error."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from app.core.errors import InputError
from app.core.task import GroupRule
from app.data.doctor.check import check_task
from app.data.doctor.finding import Severity
from app.data.doctor.grid_rules import GRID_RULES, HEADER_ADVICE
from app.data.doctor.image_rules import IMAGE_RULES
from app.data.doctor.label_rules import LABEL_RULES
from app.data.doctor.set_label_rules import SET_LABEL_RULES
from app.data.doctor.set_rules import SET_RULES
from app.data.doctor.table import COLUMNS, rows, write_check
from app.data.plan.fingerprint import read_fingerprint
from app.data.prepare.cache import Cache
from app.data.sample.groups import groups_by_prefix
from app.data.sets.decathlon import read_task
from tests.support.edited import IMAGE, LABEL, TURN, Voxels, change, check, kinds, move, set_voxel, shifted
from tests.support.volumes import REAL_DATA, MakeTask

pytestmark = pytest.mark.e2e


def header(path: Path, **fields: Any) -> None:
    """Overwrite header fields in the file itself; nibabel would repair them while writing."""
    stored = nib.load(path).header.copy()
    content = bytearray(gzip.decompress(path.read_bytes()))
    for field, value in fields.items():
        stored[field] = value
    stored["vox_offset"] = 352
    content[:348] = stored.binaryblock
    path.write_bytes(gzip.compress(bytes(content)))


def copy(folder: Path, source: str, target: str, edit: Callable[[Voxels], Voxels]) -> None:
    voxels = np.asarray(nib.load(folder / source).dataobj, dtype=np.float32)
    nib.save(nib.Nifti1Image(edit(voxels), np.eye(4)), folder / target)


def noisy(voxels: Voxels) -> Voxels:
    return voxels + np.random.default_rng(9).normal(0, 5, voxels.shape).astype(np.float32)


def half_zero(voxels: Voxels) -> Voxels:
    """Zero from the middle of the blob on."""
    middle = int(np.argwhere(voxels > 100)[:, 0].mean())
    voxels[middle:] = 0
    return voxels


Plant = Callable[[Path], Any]
PLANTED: dict[str, Plant] = {
    "unreadable_image": lambda f: (f / IMAGE).write_bytes((f / IMAGE).read_bytes()[:-900]),
    "unreadable_label": lambda f: (f / LABEL).write_bytes(b"nothing"),
    "other_channels": lambda f: change(f / IMAGE, lambda v: np.stack([v, v], axis=-1)),
    "not_finite": lambda f: change(f / IMAGE, set_voxel(np.nan)),
    "constant_image": lambda f: change(f / IMAGE, np.ones_like),
    "not_hounsfield": lambda f: change(f / IMAGE, lambda v: v + 1000),
    "other_shape": lambda f: change(f / LABEL, lambda v: v[:-1], np.uint8),
    "other_grid": lambda f: move(f / LABEL, shifted(3.0)),
    "other_orientation": lambda f: nib.save(nib.load(f / LABEL).as_reoriented(TURN), f / LABEL),
    "fractional_labels": lambda f: change(f / LABEL, set_voxel(0.4)),
    "float_labels": lambda f: change(f / LABEL, np.copy),
    "unknown_labels": lambda f: change(f / LABEL, set_voxel(7), np.uint8),
    "empty_label": lambda f: change(f / LABEL, np.zeros_like, np.uint8),
    "full_label": lambda f: change(f / LABEL, np.ones_like, np.uint8),
    "tiny": lambda f: [change(f / path, lambda v: v[:2]) for path in (IMAGE, LABEL)],
    "huge": lambda f: [
        change(f / path, lambda v: np.tile(v[:2, :2], (800, 1, 1))) for path in (IMAGE, LABEL)
    ],
    "odd_spacing": lambda f: [move(f / path, np.diag([1e-3, 1e-3, 1e-3, 1])) for path in (IMAGE, LABEL)],
    "forms_disagree": lambda f: header(f / IMAGE, qform_code=1, qoffset_x=4.0),
    "negative_spacing": lambda f: header(f / IMAGE, pixdim=[1, -1, 1, 1, 0, 0, 0, 0]),
    "no_orientation": lambda f: [header(f / p, sform_code=0, qform_code=0) for p in (IMAGE, LABEL)],
    "not_millimetres": lambda f: [
        header(f / p, xyzt_units=3, srow_x=[1e3, 0, 0, 0], srow_y=[0, 1e3, 0, 0], srow_z=[0, 0, 1e3, 0])
        for p in (IMAGE, LABEL)
    ],
    "unknown_unit": lambda f: header(f / IMAGE, xyzt_units=5),
    "sizes_disagree": lambda f: header(f / IMAGE, qform_code=0, pixdim=[1, 9, 9, 9, 0, 0, 0, 0]),
    "label_outside": lambda f: change(f / IMAGE, half_zero),
    "duplicate_image": lambda f: copy(f, "imagesTr/blob_001.nii.gz", IMAGE, np.copy),
    "duplicate_label": lambda f: copy(f, "labelsTr/blob_001.nii.gz", LABEL, np.copy),
}


BETWEEN = {
    *("near_duplicate", "sibling_numbers", "absent_label", "unlisted", "mixed_orientations", "too_large"),
    *("rare_label", "vanishing_label", "vanishing_lesions"),
}
"""Found between cases; planted in tests of their own below."""


def test_no_kind_of_fault_is_without_a_test() -> None:
    rules = (*IMAGE_RULES, *LABEL_RULES, *GRID_RULES, *SET_RULES, *SET_LABEL_RULES)
    read = {"unreadable_image", "unreadable_label"}
    of_dicom = {"uneven_slices"}  # planted in tests of the rules about patients
    assert {rule.__name__ for rule in rules} | set(HEADER_ADVICE) | read == set(PLANTED) | BETWEEN | of_dicom


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_fault_is_found(make_task: MakeTask, kind: str) -> None:
    folder = make_task(cases=3, modality="CT" if kind == "not_hounsfield" else "MRI")
    if kind == "not_hounsfield":
        for number in (1, 3):
            change(folder / f"imagesTr/blob_00{number}.nii.gz", lambda v: v - 1000)
    PLANTED[kind](folder)
    _, checked = check(folder)
    assert kind in kinds(checked)
    assert kinds(checked, "blob_003") <= {kind}


def test_a_set_without_a_value_below_0_is_noted_once(make_task: MakeTask) -> None:
    folder = make_task(cases=3, modality="CT")
    for number in (1, 2, 3):
        change(folder / f"imagesTr/blob_00{number}.nii.gz", lambda v: v - v.min())
    _, checked = check(folder)
    assert kinds(checked, "") == {"not_hounsfield"}
    assert not any(kinds(checked, f"blob_00{number}") for number in (1, 2, 3))


def test_what_would_stop_preparing_is_an_error(make_task: MakeTask, tmp_path: Path) -> None:
    """The doctor and preparing agree: an error of a single case is what preparing refuses."""
    for kind, plant in PLANTED.items():
        folder = make_task(cases=3, name=f"Task_{kind}")
        plant(folder)
        task, checked = check(folder)
        try:
            read_fingerprint(Cache(tmp_path / "cache", task, workers=1))
            refused = False
        except InputError:
            refused = True
        errors = {
            f.kind for found in checked.findings.values() for f in found if f.severity == Severity.ERROR
        }
        assert refused == bool(errors - {"constant_image"}), kind


def test_faults_between_cases_are_found(make_task: MakeTask) -> None:
    folder = make_task(cases=4)
    copy(folder, "imagesTr/blob_001.nii.gz", "imagesTr/blob_004.nii.gz", noisy)
    nib.save(nib.load(folder / IMAGE), folder / "imagesTr" / "extra.nii.gz")
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    facts["labels"]["2"] = "other"
    (folder / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    for path in (folder / IMAGE, folder / LABEL):
        nib.save(nib.load(path).as_reoriented(TURN), path)
    _, checked = check(folder)
    assert kinds(checked, "blob_001") == {"near_duplicate"}
    assert kinds(checked, "") == {"absent_label", "unlisted", "mixed_orientations"}


@pytest.mark.parametrize("mm", [11.0, 5e3])
def test_a_scan_in_other_units_is_named_before_it_is_prepared(make_task: MakeTask, mm: float) -> None:
    folder = make_task(cases=3)
    for path in (folder / IMAGE, folder / LABEL):
        move(path, np.diag([mm, mm, mm, 1]))
    _, checked = check(folder)
    odd = {"odd_spacing"} if mm > 20 else set()
    assert kinds(checked) == {"too_large"} | odd and not kinds(checked, "blob_001")


def test_a_stack_of_seven_thick_slices_raises_no_warning(make_task: MakeTask) -> None:
    _, checked = check(make_task(cases=3, shape=(40, 36, 7), affine=np.diag([1.5, 1.5, 10, 1])))
    assert checked.findings == {}


def test_labels_of_one_case_and_of_less_than_a_voxel_are_found(make_task: MakeTask) -> None:
    """Case 2 has voxels of half the size, and one of them is labelled."""
    folder = make_task(cases=3)
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    facts["labels"]["2"] = "other"
    (folder / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    for path in (folder / IMAGE, folder / LABEL):
        nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), np.diag([0.5, 0.5, 0.5, 1])), path)
    change(folder / LABEL, lambda voxels: set_voxel(2)(np.zeros_like(voxels)), np.uint8)
    _, checked = check(folder)
    assert kinds(checked) == {"rare_label", "vanishing_label"}


def test_lesions_of_less_than_a_voxel_are_counted(make_task: MakeTask) -> None:
    """Case 2 has voxels of half the size: its blob stays, a voxel far from it does not."""
    folder = make_task(cases=3)
    for path in (folder / IMAGE, folder / LABEL):
        nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), np.diag([0.5, 0.5, 0.5, 1])), path)
    corner = np.zeros((19, 22, 17), np.uint8)
    corner[0, 0, 0] = 1
    change(folder / LABEL, lambda voxels: np.maximum(voxels, corner), np.uint8)
    _, checked = check(folder)
    assert kinds(checked, "") == {"vanishing_lesions"} and not kinds(checked)
    (finding,) = checked.findings[""]
    assert finding.found.startswith("1 of 4 lesions of label 1 (blob)") and "1 in blob_002" in finding.found


def test_sides_of_one_patient_under_neighbouring_numbers_are_suspected(make_task: MakeTask) -> None:
    folder = make_task(cases=8)
    for number in (2, 4, 6, 8):
        source, target = (f"imagesTr/blob_00{n}.nii.gz" for n in (number - 1, number))
        copy(folder, source, target, lambda v: v[:, ::-1] * 0.2 + v)
    task, checked = check(folder)
    assert "sibling_numbers" in kinds(checked, "")
    together = check_task(task, GroupRule(r"(\d+)$", 2), workers=1)
    assert "sibling_numbers" not in kinds(together, "")


def test_sound_data_have_no_finding(make_task: MakeTask) -> None:
    _, checked = check(make_task(cases=4))
    assert checked.findings == {}


def test_the_table_has_a_row_a_case(make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=3)
    PLANTED["not_finite"](folder)
    _, checked = check(folder)
    write_check(tmp_path / "check.csv", checked)
    lines = (tmp_path / "check.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",".join(COLUMNS) and len(lines) == 4
    row = rows(checked)[1]
    assert row["status"] == "error" and row["kinds"] == "not_finite" and row["voxels"] == "19x22x17"
    assert "check.repair" in row["findings"] and re.search(r"\b1\b", row["findings"])


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="real data sets are not here")
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Task04_Hippocampus", {"float_labels", "sibling_numbers"}),
        ("Task50_SoftTissueSarcoma", set()),
        ("Task60_ACDC", {"duplicate_image"}),
        ("Task62_BrainStructures", set()),
        ("Task63_LungNodule", {"not_hounsfield"}),
    ],
)
def test_real_data_sets_have_no_error_and_no_false_alarm(name: str, wanted: set[str]) -> None:
    task = read_task(REAL_DATA / name)
    group = groups_by_prefix([case.id for case in task.cases])
    checked = check_task(task, group, workers=2)
    assert checked.count(Severity.ERROR) == 0
    assert {finding.kind for found in checked.findings.values() for finding in found} == wanted
    if name == "Task60_ACDC":  # 074 and 076 hold equal scans
        assert set(checked.findings) == {
            f"patient{number}_frame{frame}" for number in ("074", "076") for frame in ("01", "12")
        }
