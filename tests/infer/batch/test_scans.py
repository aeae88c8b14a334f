"""What a folder holds as scans: trees of patients, studies and series, channels, and what is left out."""

import errno
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pydicom")

from app.core.errors import InputError
from app.core.reading import Reading
from app.infer.batch.scans import find_scans
from app.io.volumes import read_volume
from tests.support.dicom import a_scan, enhanced, save, save_bare, slices

CT, TWO = Reading(modalities=("CT",)), Reading(modalities=("T1", "T2"))
SMALL = a_scan((4, 4, 2))


def names(folder: Path, reading: Reading, output: str = "out") -> dict[str, str]:
    """Results by scan, below the folder."""
    found = find_scans([folder], folder / output, reading)
    return {path.relative_to(folder).as_posix(): name for path, name in found.names.items()}


def nifti(path: Path, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 2, channels)[: 3 + (channels > 1)], np.uint8), np.eye(4)), path)


def test_series_of_any_depth_are_scans(tmp_path: Path) -> None:
    save(tmp_path / "p1" / "st" / "se", slices(SMALL))
    for series in ("a", "b"):
        save_bare(tmp_path / "p2" / "st" / series, slices(SMALL, series=series))
    save(tmp_path / "p3", slices(SMALL))
    nifti(tmp_path / "n.nii.gz")
    save(tmp_path / "out" / "p1", slices(SMALL))
    assert names(tmp_path, CT) == {
        "n.nii.gz": "n",
        "p1/st/se": "p1",
        "p2/st/a": "p2_st_a",
        "p2/st/b": "p2_st_b",
        "p3": "p3",
    }
    assert names(tmp_path / "p3", CT) == {".": "p3"}


def test_multi_frame_files_side_by_side_are_scans_each(tmp_path: Path) -> None:
    save(tmp_path / "two", [enhanced(slices(SMALL, series=name)) for name in ("a", "b")])
    save(tmp_path / "one", [enhanced(slices(SMALL))])
    found = names(tmp_path, CT)
    assert found == {"one": "one", "two/IM0000.dcm": "two_IM0000", "two/IM0001.dcm": "two_IM0001"}


def test_the_folder_that_holds_all_channels_is_the_scan(tmp_path: Path) -> None:
    for case in ("c1", "c2"):
        for channel in ("0_T1", "1_T2"):
            save(tmp_path / "a" / case / channel, slices(SMALL, series=channel))
    assert names(tmp_path / "a", TWO) == {"c1": "c1", "c2": "c2"}
    assert names(tmp_path / "a" / "c1", TWO) == {".": "c1"}
    for channel in ("T1", "T2"):
        save(tmp_path / "b" / "p" / channel / "st" / "se", slices(SMALL, series=channel))
    assert names(tmp_path / "b", TWO) == {"p": "p"}
    for number, channel in enumerate(("t1 mprage", "t2 tse", "flair")):
        save(tmp_path / "c" / "p" / "st" / str(number), slices(SMALL, series=channel))
    words = Reading(("mprage", "tse"), modalities=("T1", "T2"))
    assert names(tmp_path / "c", words) == {"p/st": "p"}
    flair = Reading(("flair",), modalities=("MR",))
    assert names(tmp_path / "c", flair) == {"p/st/2": "p"}
    left = find_scans([tmp_path / "c"], tmp_path / "out", flair).left_out
    assert [path.name for path in left] == ["0", "1"]


def test_channels_of_two_patients_are_no_scan(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        save(tmp_path / patient, slices(SMALL, series=patient, PatientID=patient))
    assert names(tmp_path, TWO) == {"p1": "p1", "p2": "p2"}  # reading names what each lacks


def test_files_are_channels_where_they_have_one_each(tmp_path: Path) -> None:
    for name in ("T1", "T2"):
        nifti(tmp_path / "a" / f"{name}.nii.gz")
        nifti(tmp_path / "b" / f"{name}.nii.gz", channels=2)
    assert names(tmp_path / "a", TWO) == {".": "a"}
    assert names(tmp_path / "b", TWO) == {"T1.nii.gz": "T1", "T2.nii.gz": "T2"}


def test_what_is_left_out_has_a_reason(tmp_path: Path) -> None:
    folder = save(tmp_path / "p" / "st" / "se", slices(SMALL))
    report = slices(SMALL)[0]
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    del report.PixelData
    report.save_as(folder / "dose.dcm", enforce_file_format=True)
    (tmp_path / "p" / "notes.txt").write_text("a note")
    nifti(tmp_path / "p" / "st" / "deep.nii.gz")
    left = find_scans([tmp_path], tmp_path / "out", CT).left_out
    reasons = {path.name: reason for path, reason in left.items()}
    assert set(reasons) == {"dose.dcm", "notes.txt", "deep.nii.gz"}
    assert "structured report" in reasons["dose.dcm"] and "folder" in reasons["deep.nii.gz"]
    (tmp_path / "q").mkdir()
    (folder / "dose.dcm").rename(tmp_path / "q" / "dose.dcm")
    with pytest.raises(InputError, match="structured report"):
        find_scans([tmp_path / "q"], tmp_path / "out", CT)


def test_a_series_is_not_displaced_by_a_file_beside_its_slices(tmp_path: Path) -> None:
    """The file alone was a scan, and the series was not named."""
    folder = save(tmp_path / "p", slices(SMALL))
    nifti(folder / "mask.nii.gz")
    assert names(folder, CT) == {".": "p"}
    with pytest.raises(InputError, match=r"2 DICOM series and files, wanted 1 \(CT\)") as error:
        read_volume(folder, CT)
    assert "mask.nii.gz" in str(error.value)
    assert names(folder, TWO) == {".": "p"}  # a series and a file as two channels
    multi = save(tmp_path / "m", [enhanced(slices(SMALL))])
    nifti(multi / "n.nii.gz")
    assert names(multi, CT) == {"IM0000.dcm": "IM0000", "n.nii.gz": "n"}


def test_scans_beside_folders_of_scans_are_left_out_by_name(tmp_path: Path) -> None:
    """Slices above other slices, and a file above slices, were left out and not named."""
    for place in ("p", "p/localizer", "q/series"):
        save(tmp_path / place, slices(SMALL, series=place))
    nifti(tmp_path / "q" / "ct.nii.gz")
    assert names(tmp_path, CT) == {"p/localizer": "p", "q/series": "q"}
    left = find_scans([tmp_path], tmp_path / "out", CT).left_out
    assert {path.relative_to(tmp_path).as_posix() for path in left} == {"p", "q/ct.nii.gz"}
    assert "of their own" in left[tmp_path / "p"]
    assert "give the file itself" in left[tmp_path / "q" / "ct.nii.gz"]


def test_links_are_followed_in_no_circle_and_those_to_nothing_are_named(tmp_path: Path) -> None:
    nifti(tmp_path / "in" / "a.nii.gz")
    try:
        (tmp_path / "in" / "b.nii.gz").symlink_to(tmp_path / "missing.nii.gz")
        (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    except OSError:
        pytest.skip("links are not allowed here")
    found = find_scans([tmp_path / "in"], tmp_path / "out", CT)
    assert found.scans == [tmp_path / "in" / "a.nii.gz"]
    assert found.left_out == {tmp_path / "in" / "b.nii.gz": "a link to a missing file"}


def test_a_folder_that_cannot_be_listed_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nifti(tmp_path / "a.nii.gz")
    (tmp_path / "closed").mkdir()
    usual = Path.iterdir

    def refuse(self: Path) -> Iterator[Path]:
        if self.name == "closed":
            raise PermissionError(errno.EACCES, "refused", str(self))
        return usual(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="closed: cannot be read"):
        find_scans([tmp_path], tmp_path / "out", CT)
