"""Nothing of a patient is told: not in names, paths or messages, however the folders are called."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pydicom")

from app.io.privacy import known_as
from app.io.scan_paths import case_name
from tests.support.dicom import a_scan, save, slices

SMALL = a_scan((4, 4, 2))


def alias(scan: Path, *, anonymous: bool = True) -> object:
    return known_as({scan: case_name(scan)}, anonymous=anonymous)[scan]


@pytest.mark.parametrize(
    "name",
    [
        "Doe_Jane",
        "JaneDoe",
        "DOE",
        "4711-X",
        "MR-4711X-1",
        "1950-01-02",
        "02011950",
        "scan of jane",
        "Müller",
    ],
)
def test_folders_named_after_the_patient_are_not_told(tmp_path: Path, name: str) -> None:
    who = {"PatientName": "Müller^Jane"} if name == "Müller" else {}
    folder = save(tmp_path / "p" / name / "st", slices(SMALL, SpecificCharacterSet="ISO_IR 100", **who))
    found = alias(folder)
    assert found.name == "st" and name not in found.shown and found.shown.endswith("/st")
    message = f"{folder}/IM0000.dcm: got nothing of {name}"
    assert name not in found.clean(message) and "IM0000.dcm: got nothing" in found.clean(message)
    named = alias(folder.parent)
    assert named.name.startswith("scan_") and named == alias(folder.parent)
    assert alias(folder.parent, anonymous=False).name == name
    assert alias(folder, anonymous=False).shown == str(folder)


def test_names_that_tell_nothing_stay(tmp_path: Path) -> None:
    for name in ("case_001", "janet", "47", "doer", "series 1"):
        folder = save(tmp_path / name, slices(SMALL))
        assert (alias(folder).name, alias(folder).shown) == (name, str(folder))
    removed = save(tmp_path / "Doe_Jane", slices(SMALL, PatientIdentityRemoved="YES"))
    assert alias(removed).name == "Doe_Jane"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4)), tmp_path / "Doe.nii.gz")
    assert alias(tmp_path / "Doe.nii.gz").name == "Doe"


def test_paths_of_two_patients_stay_apart(tmp_path: Path) -> None:
    first = save(tmp_path / "Doe_Jane" / "st", slices(SMALL, series="1"))
    other = save(tmp_path / "Roe_John" / "st", slices(SMALL, series="2", PatientName="Roe^John"))
    assert alias(first).shown != alias(other).shown and alias(first).name == alias(other).name == "st"


def test_short_ids_hide_paths_but_no_numbers(tmp_path: Path) -> None:
    folder = save(tmp_path / "7" / "st", slices(SMALL, PatientID="7", PatientName="A^B"))
    found = alias(folder)
    assert "/7/" not in found.shown
    assert found.clean(f"{folder}: got 17 slices") == f"{found.shown}: got 17 slices"


def test_files_named_after_the_patient_are_not_told(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", slices(SMALL))
    (folder / "IM0000.dcm").rename(folder / "DOE_JANE.0001.dcm")
    found = alias(folder)
    assert found.name == "a"
    assert "DOE" not in found.clean(f"{folder}: DOE_JANE.0001.dcm and IM0001.dcm lie in one place")
