"""Cases and folders named after patients are found, and slices that lie unevenly."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pydicom")

from app.core.task import Case, Hidden, Task
from app.data.doctor.check import check_case
from app.data.doctor.examine import examine
from app.data.doctor.set_rules import unlisted
from tests.support.dicom import TO_MM, a_scan, save, slices


def kinds(image: Path, label: Path) -> set[str]:
    task = Task("Task", ("CT",), ("background", "a"), ())
    return {found.kind for found in check_case(examine(Case(image.name, image, label), task), task)}


def test_names_of_patients_and_uneven_slices_are_warnings(tmp_path: Path) -> None:
    label = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((9, 8, 6), dtype=np.uint8), TO_MM), label)
    made = slices(a_scan())
    assert not kinds(save(tmp_path / "case_1", made), label) & {"named_after_patient", "uneven_slices"}
    assert "named_after_patient" in kinds(save(tmp_path / "Jane_Doe", made), label)
    assert "named_after_patient" in kinds(save(tmp_path / "4711-X" / "case_1", made), label)
    made[2].ImagePositionPatient[2] = float(made[2].ImagePositionPatient[2]) + 0.1  # of 4 mm
    assert "uneven_slices" in kinds(save(tmp_path / "case_2", made), label)


def test_a_fault_of_a_file_is_told_without_its_path(tmp_path: Path) -> None:
    task = Task("Task", ("CT",), ("background", "a"), ())
    file = tmp_path / "Jane_Doe.nii.gz"
    file.write_bytes(b"broken")
    hidden = Hidden("Jane_Doe", "dataset.json", 2, ("Jane_Doe.nii.gz",))
    found = list(check_case(examine(Case("scan_1", file, file, hidden=hidden), task), task))
    assert {one.kind for one in found} == {"named_after_patient", "unreadable_image", "unreadable_label"}
    assert not any("Jane" in str(one) for one in found) and any("number 3" in str(one) for one in found)


def test_scans_that_are_not_listed_may_be_named_after_patients_too(tmp_path: Path) -> None:
    for name in ("Jane_Doe.nii.gz", "Roe_v2.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    case = Case("case_1", tmp_path / "Jane_Doe.nii.gz", None)
    told = {}
    for hidden in (None, Hidden("Jane_Doe", "dataset.json", 0, ("Jane_Doe.nii.gz",))):
        task = Task("Task", ("CT",), ("background", "a"), (replace(case, hidden=hidden),))
        ((_, found),) = unlisted([], task, None)
        told[hidden is not None] = str(found)
    assert "Roe_v2" in told[False] and "Roe" not in told[True] and "1 scans" in told[True]
