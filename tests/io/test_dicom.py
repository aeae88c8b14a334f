"""Series as hospitals send them: the same voxels on the same grid, or the file at fault by name."""

import copy
import re
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

pydicom = pytest.importorskip("pydicom")

from app.core import optional  # noqa: E402
from app.core.errors import InputError  # noqa: E402
from app.core.reading import Reading  # noqa: E402
from app.io.dicom import is_dicom_folder  # noqa: E402
from app.io.header_warnings import header_warnings  # noqa: E402
from app.io.scan_paths import case_name  # noqa: E402
from app.io.volumes import read_header, read_volume, write_label_map  # noqa: E402
from tests.support.dicom import (  # noqa: E402
    LPS,
    OBLIQUE,
    TILTED,
    TO_MM,
    a_scan,
    enhanced,
    pydicom_voxels,
    save,
    save_bare,
    slices,
)

SYNTAXES = {
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "RLE": "1.2.840.10008.1.2.5",
    "deflated": "1.2.840.10008.1.2.1.99",
}
MIXED = [3, 0, 5, 1, 4, 2]


def mixed(**how: object) -> list[object]:
    """Slices of a scan, their files in no order."""
    made = slices(a_scan(), **how)
    return [made[k] for k in MIXED]


@pytest.mark.parametrize("affine", [TO_MM, OBLIQUE, TILTED])
def test_plain_files_are_ordered_by_position(tmp_path: Path, affine: np.ndarray) -> None:
    volume = read_volume(save(tmp_path / "a", mixed(affine=affine)))
    np.testing.assert_array_equal(volume.voxels[0], a_scan())
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_compressed_files_hold_what_plain_ones_hold(tmp_path: Path, syntax: str, photometric: str) -> None:
    scan = a_scan((33, 31, 2))
    made = slices(scan, photometric=photometric, slope=0.5)
    folder = save(tmp_path / "a", made[::-1], syntax=SYNTAXES[syntax], suffix="")
    assert pydicom.dcmread(folder / "IM0000").file_meta.TransferSyntaxUID == SYNTAXES[syntax]
    np.testing.assert_array_equal(read_volume(folder).voxels[0], scan)


@pytest.mark.parametrize("signed", [False, True])
def test_monochrome1_is_not_inverted(tmp_path: Path, signed: bool) -> None:
    how = {"photometric": "MONOCHROME1", "signed": signed, "intercept": 0.0 if signed else -1024.0}
    folder = save(tmp_path / "a", slices(a_scan(), **how))
    np.testing.assert_array_equal(read_volume(folder).voxels[0], a_scan())
    np.testing.assert_array_equal(pydicom_voxels(sorted(folder.iterdir())), a_scan())
    bare = save_bare(tmp_path / "b", slices(a_scan(), **how))
    np.testing.assert_array_equal(read_volume(bare).voxels[0], a_scan())


def test_files_without_preamble_or_suffix_are_dicom(tmp_path: Path) -> None:
    folder = save_bare(tmp_path / "a", mixed())
    (folder / "README.txt").write_text("a note")
    assert is_dicom_folder(folder)
    np.testing.assert_array_equal(read_volume(folder).voxels[0], a_scan())
    many = save_bare(tmp_path / "b", [enhanced(slices(a_scan()), MIXED)])
    np.testing.assert_array_equal(read_volume(many).voxels[0], a_scan())


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("affine", [TO_MM, OBLIQUE])
def test_enhanced_files_are_ordered_by_position(tmp_path: Path, modality: str, affine: np.ndarray) -> None:
    whole = enhanced(slices(a_scan(), affine, modality=modality), MIXED)
    folder = save(tmp_path / "a", [whole])
    for path in (folder, folder / "IM0000.dcm"):
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.voxels[0], a_scan())
        np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    assert case_name(folder / "IM0000.dcm") == "IM0000" and read_header(folder).size == (9, 8, 6)


@pytest.mark.parametrize("syntax", [None, SYNTAXES["JPEG-LS"], SYNTAXES["RLE"]])
def test_frames_of_enhanced_files_have_scales_of_their_own(tmp_path: Path, syntax: str | None) -> None:
    scan = a_scan((33, 31, 6))
    made = slices(scan, photometric="MONOCHROME1", signed=True, intercept=0.0)
    for k, one in enumerate(made):
        one.RescaleSlope, one.RescaleIntercept = f"{k + 1}", f"{-100 * k}"
    volume = read_volume(save(tmp_path / "a", [enhanced(made, MIXED)], syntax=syntax))
    np.testing.assert_array_equal(volume.voxels[0], scan * np.arange(1.0, 7) - 100 * np.arange(6))


def test_numbers_out_of_range_are_refused_without_warnings(tmp_path: Path) -> None:
    scaled, placed = slices(a_scan()), slices(a_scan())
    for k, one in enumerate(scaled):
        one.RescaleSlope = "1e300"
        placed[k].ImagePositionPatient = [f"{(-1) ** k}e308", "1e308", f"{k}e308"]
    with warnings.catch_warnings(action="error"):
        with pytest.raises(InputError, match=r"infinite voxels"):
            read_volume(save(tmp_path / "scaled", [enhanced(scaled)]))
        with pytest.raises(InputError, match=r"placed"):
            read_volume(save(tmp_path / "placed", [enhanced(placed)]))


def test_enhanced_files_ask_for_pydicom_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "a", [enhanced(slices(a_scan()))])
    monkeypatch.setattr(optional, "absent", list)
    with pytest.raises(InputError, match=r"pip install .*pydicom") as error:
        read_volume(folder)
    assert "\n" not in str(error.value)


def test_a_localizer_is_named_not_the_first_good_file(tmp_path: Path) -> None:
    made = slices(a_scan())
    localizer = copy.deepcopy(made[2])
    localizer.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    with pytest.raises(InputError, match=r"IM0000\.dcm") as error:
        read_volume(save(tmp_path / "a", [localizer, *made]))
    assert "IM0001" not in str(error.value)


def test_doubled_and_missing_slices_name_their_files(tmp_path: Path) -> None:
    made = slices(a_scan())
    with pytest.raises(InputError, match=r"IM0003\.dcm and IM0006\.dcm"):
        read_volume(save(tmp_path / "a", [*made, copy.deepcopy(made[3])]))
    with pytest.raises(InputError, match=r"8 mm .*IM0001\.dcm and IM0002\.dcm.* 4 mm"):
        read_volume(save(tmp_path / "b", [made[0], made[1], made[3], made[4]]))
    with pytest.raises(InputError, match=r"8 mm .* 4 mm"):  # two gaps of four are wide
        read_header(save(tmp_path / "e", [made[0], made[1], made[2], made[4], slices(a_scan((9, 8, 7)))[6]]))
    with pytest.raises(InputError, match=r"frame 3 and \S+ frame 4"):
        read_volume(save(tmp_path / "c", [enhanced([*made[:3], *made[2:]])]))
    for one in made[2:4]:
        del one.ImagePositionPatient
    with pytest.raises(InputError, match=r"IM0002\.dcm, IM0003\.dcm.* 2 of 6"):
        read_volume(save(tmp_path / "d", made))


def test_uneven_slices_are_allowed_up_to_a_share(tmp_path: Path) -> None:
    made = slices(a_scan())
    made[2].ImagePositionPatient[2] = float(made[2].ImagePositionPatient[2]) + 0.4  # of 4 mm
    folder = save(tmp_path / "a", made)
    assert read_header(folder).uneven == pytest.approx(0.082, abs=1e-3)  # .1 less the line's own shift
    with pytest.raises(InputError, match=r"0\.08\d of a slice .*slice_jitter"):
        read_volume(folder)
    volume = read_volume(folder, Reading(slice_jitter=0.1))
    assert set(header_warnings(folder)) == {"uneven_slices"}
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 4], atol=0.05)
    drift = slices(a_scan((4, 4, 20)))
    for k, one in enumerate(
        drift
    ):  # each distance within 4 % of the mean, a slice up to .4 of a distance off
        one.ImagePositionPatient[2] = 3.84 * min(k, 10) + 4.16 * max(k - 10, 0)
    with pytest.raises(InputError, match="slice_jitter"):
        read_volume(save(tmp_path / "b", drift))


def test_one_slice_is_as_thick_as_it_says_or_unknown(tmp_path: Path) -> None:
    made = slices(a_scan((9, 8, 1)))
    assert read_volume(save(tmp_path / "a", made)).spacing == pytest.approx((2, 2, 4))
    assert read_volume(save(tmp_path / "b", [enhanced(made)])).spacing == pytest.approx((2, 2, 4))
    del made[0].SliceThickness
    with pytest.raises(InputError, match="SliceThickness"):
        read_volume(save(tmp_path / "c", made))


@pytest.mark.parametrize("stored", [None, ["0", "0"]])
def test_pixels_without_a_size_are_not_taken_for_1_mm(tmp_path: Path, stored: list[str] | None) -> None:
    made = slices(a_scan())
    for one in made:
        one.PixelSpacing = stored
    with pytest.raises(InputError, match=r"(?i)spacing"):
        read_header(save(tmp_path / "a", made))


def test_other_objects_in_a_folder_are_no_slices(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", slices(a_scan()))
    report = copy.deepcopy(slices(a_scan())[0])
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    del report.PixelData
    report.save_as(folder / "dose.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_volume(folder).voxels[0], a_scan())
    with pytest.raises(InputError, match="a structured report"):
        read_volume(folder / "dose.dcm")


def test_no_reader_displaces_the_mask_of_a_tilted_series(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", mixed(affine=TILTED))
    mask = np.zeros((9, 8, 6), dtype=np.uint8)
    mask[3, 4, 5] = 1
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        write_label_map(tmp_path / name, mask, range(2), like=folder)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii.gz").affine, TILTED, atol=1e-5)
    for name in ("a.nrrd", "a.mha"):
        image = sitk.ReadImage(str(tmp_path / name))
        there = np.array(image.TransformIndexToPhysicalPoint((3, 4, 5)))
        np.testing.assert_allclose(there, (LPS @ TILTED @ (3, 4, 5, 1))[:3], atol=1e-4)
    try:
        image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    except RuntimeError:
        return  # refused, as axes that are not at right angles do not fit into ITK's geometry
    there = np.array(image.TransformIndexToPhysicalPoint((3, 4, 5)))
    np.testing.assert_allclose(there, (LPS @ TILTED @ (3, 4, 5, 1))[:3], atol=1e-4)


def test_series_of_a_folder_are_channels_in_one_order(tmp_path: Path) -> None:
    save(tmp_path / "case" / "ST" / "x", slices(a_scan(seed=1), series="t2 tse"))
    save(tmp_path / "case" / "ST" / "y", slices(a_scan(seed=2), series="t1 mprage"))
    folder, names = tmp_path / "case", ("T1", "T2")
    by_modality = read_volume(folder, Reading("modality", modalities=names))
    np.testing.assert_array_equal(by_modality.voxels, np.stack([a_scan(seed=2), a_scan(seed=1)]))
    by_word = read_volume(folder, Reading(("tse", "mprage"), modalities=names))
    np.testing.assert_array_equal(by_word.voxels, by_modality.voxels[::-1])
    with pytest.raises(InputError, match=r"T2, T1; wanted T1, T2"):  # names sort against what they say
        read_volume(folder, Reading(modalities=names))
    with pytest.raises(InputError, match=r"2 DICOM series, wanted 1 \(CT\)"):
        read_volume(folder, Reading(modalities=("CT",)))
    np.testing.assert_array_equal(read_volume(folder, Reading(("tse",))).voxels[0], a_scan(seed=1))
    with pytest.raises(InputError, match=re.escape("'FLAIR'")):
        read_volume(folder, Reading(("FLAIR", "tse")))


def test_series_that_lie_together_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    save(tmp_path / "a", slices(a_scan(seed=1), series="arterial"), suffix="_1")
    save(tmp_path / "a", slices(a_scan(seed=2), series="venous"), suffix="_2")
    chosen = read_volume(tmp_path / "a", Reading(("venous",), modalities=("CT",)))
    np.testing.assert_array_equal(chosen.voxels[0], a_scan(seed=2))
    with pytest.raises(InputError, match=r"arterial \(6 files\); .*venous \(6 files\)"):
        read_volume(tmp_path / "a", Reading(modalities=("CT",)))
