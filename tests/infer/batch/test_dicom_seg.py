"""Segmentations as other libraries read them: distinct codes, names in UTF-8, the patient of the series."""

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

from app.core.errors import InputError  # noqa: E402
from app.core.reading import Reading  # noqa: E402
from app.infer.batch.dicom_seg import write_dicom_seg  # noqa: E402
from app.infer.batch.dicom_sources import scan_frames  # noqa: E402
from tests.support.dicom import OBLIQUE, a_scan, enhanced, save, save_bare, slices  # noqa: E402

LONG = tuple(f"{'a' * 60} of the {side} side" for side in ("left", "right"))
NAMES = ("background", "lung_upper_lobe_left", "lung_upper_lobe_right", "Gefäß", "腫瘍", "liver", *LONG)


def test_codes_differ_and_names_stay(tmp_path: Path) -> None:
    scan = save(
        tmp_path / "a", slices(a_scan(), PatientName="Müller^Jürgen", SpecificCharacterSet="ISO_IR 100")
    )
    write_dicom_seg(tmp_path / "s.dcm", np.ones((9, 8, 6), np.uint8), NAMES, scan_frames(scan, Reading()))
    data = pydicom.dcmread(tmp_path / "s.dcm")
    segments = data.SegmentSequence
    codes = [one.SegmentedPropertyTypeCodeSequence[0].CodeValue for one in segments]
    assert len(set(codes)) == len(NAMES) - 1 and all(len(code) <= 16 for code in codes)
    assert codes[4] == "liver"  # short names are their own codes
    assert [one.SegmentLabel for one in segments][:5] == list(NAMES[1:6])
    assert [one.SegmentDescription for one in segments] == list(NAMES[1:])
    assert len({one.SegmentLabel for one in segments}) == len(NAMES) - 1
    assert data.SpecificCharacterSet == "ISO_IR 192" and data.PatientName == "Müller^Jürgen"
    assert "ContentCreatorName" in data and not data.ContentCreatorName


def test_series_without_preamble_has_a_segmentation(tmp_path: Path) -> None:
    classes = np.zeros((9, 8, 6), np.uint8)
    classes[1:7, 1:7, 3] = 1
    for name, made in (("a", slices(a_scan())), ("b", [enhanced(slices(a_scan()))])):
        frames = scan_frames(save_bare(tmp_path / name, made), Reading())
        write_dicom_seg(tmp_path / "s.dcm", classes, ("background", "one"), frames)
        data = pydicom.dcmread(tmp_path / "s.dcm")
        assert data.FrameOfReferenceUID == made[0].FrameOfReferenceUID and data.pixel_array.sum() == 36


@pytest.mark.parametrize("many", [False, True])
def test_highdicom_reads_the_same_voxels_in_the_same_places(tmp_path: Path, many: bool) -> None:
    made = slices(a_scan(), OBLIQUE)
    scan = save(tmp_path / "a", [enhanced(made, [3, 0, 5, 1, 4, 2])] if many else made)
    classes = np.random.default_rng(0).integers(0, 3, (9, 8, 6)).astype(np.uint8)
    write_dicom_seg(tmp_path / "s.dcm", classes, ("background", "a", "b"), scan_frames(scan, Reading()))
    volume = highdicom.seg.segread(tmp_path / "s.dcm").get_volume(combine_segments=True)
    to_lps = np.diag([-1.0, -1, 1, 1]) @ OBLIQUE
    there = np.argwhere(volume.array > 0)
    mm = np.column_stack([there, np.ones(len(there))]) @ volume.affine.T
    voxels = np.rint(mm @ np.linalg.inv(to_lps).T).astype(int)[:, :3]
    np.testing.assert_allclose(
        mm @ np.linalg.inv(to_lps).T, np.column_stack([voxels, np.ones(len(voxels))]), atol=1e-3
    )
    found = np.zeros_like(classes)
    found[tuple(voxels.T)] = volume.array[tuple(there.T)]
    np.testing.assert_array_equal(found, classes)


def test_a_series_that_lacks_what_it_must_have_is_named(tmp_path: Path) -> None:
    made = slices(a_scan())
    for one in made:
        del one.StudyID, one.PatientBirthDate, one.AccessionNumber  # empty in the result
    scan = save(tmp_path / "a", made)
    write_dicom_seg(
        tmp_path / "s.dcm", np.ones((9, 8, 6), np.uint8), ("b", "a"), scan_frames(scan, Reading())
    )
    for one in made:
        del one.FrameOfReferenceUID
    scan = save(tmp_path / "b", made)
    with pytest.raises(InputError, match="FrameOfReferenceUID"):
        write_dicom_seg(
            tmp_path / "s.dcm", np.ones((9, 8, 6), np.uint8), ("b", "a"), scan_frames(scan, Reading())
        )
