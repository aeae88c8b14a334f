"""Files as other programs write them: capitals, two parts, units, vectors, forms that contradict."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from app.core.errors import InputError
from app.io.grid import is_invertible
from app.io.header_warnings import header_warnings
from app.io.itk import write_voxels
from app.io.scan_paths import case_name, is_scan_file, scan_files, scans_by_case
from app.io.volumes import LabelMap, Volume, read_header, read_volume, reorient_like, write_label_map

TO_MM = np.array([[-2.0, 0, 0, 30], [0, -2, 0, 28], [0, 0, 4, -20], [0, 0, 0, 1]])
SCAN = np.random.default_rng(0).integers(-1000, 1000, (7, 6, 5), dtype=np.int16)


def nifti(path: Path, **fields: Any) -> Path:
    """A NIfTI file of SCAN with both forms set, then header fields overwritten in the file itself."""
    image = nib.Nifti1Image(SCAN, TO_MM)
    image.set_sform(TO_MM, 1)
    image.set_qform(TO_MM, 1)
    header = image.header.copy()
    header["vox_offset"], header["magic"] = 352, b"n+1"
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + SCAN.tobytes(order="F")))
    return path


def test_capitals_and_two_parts_are_read(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(SCAN, TO_MM), tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").rename(tmp_path / "a.NII.GZ")
    nib.save(nib.Nifti1Pair(SCAN, TO_MM), tmp_path / "c.img")
    for name in ("d.mhd", "e.nhdr", "f.nrrd"):
        write_voxels(tmp_path / name, SCAN, TO_MM)
    (tmp_path / "f.nrrd").rename(tmp_path / "f.NRRD")
    names = {"a": "a.NII.GZ", "c": "c.img", "d": "d.mhd", "e": "e.nhdr", "f": "f.NRRD"}
    assert scans_by_case(tmp_path) == {case: tmp_path / name for case, name in names.items()}
    for name in (*names.values(), "c.hdr"):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.voxels[0], SCAN)
        np.testing.assert_allclose(volume.affine, TO_MM, atol=1e-5)
    assert {file.name for file in scan_files(tmp_path / "c.img")} == {"c.img", "c.hdr"}
    assert len(scan_files(tmp_path / "d.mhd")) == len(scan_files(tmp_path / "e.nhdr")) == 2
    assert case_name(tmp_path / "a.NII.GZ") == "a" and not is_scan_file(tmp_path / "c.hdr")


def test_half_a_scan_is_named(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(SCAN, TO_MM), tmp_path / "c.img")
    (tmp_path / "c.img").unlink()
    write_voxels(tmp_path / "d.mhd", SCAN, TO_MM)
    (raw,) = (file for file in tmp_path.iterdir() if "raw" in file.name)
    raw.unlink()
    for name, missing in (("c.hdr", "c.img"), ("d.mhd", raw.name)):
        with pytest.raises(InputError, match=missing) as error:
            read_header(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_analyze_is_refused_as_it_names_no_side(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(SCAN, TO_MM), tmp_path / "c.img")
    with pytest.raises(InputError, match="Analyze"):
        read_header(tmp_path / "c.img")


def test_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    for name in ("a.nrrd", "a.mha"):
        write_voxels(tmp_path / name, SCAN, TO_MM)
    with pytest.raises(InputError, match=r"a\.mha and a\.nrrd"):
        scans_by_case(tmp_path)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_units_are_honoured_as_itk_does(tmp_path: Path, unit: str, factor: float) -> None:
    scale = np.diag([1 / factor] * 3 + [1])
    image = nib.Nifti1Image(SCAN, scale @ TO_MM)
    image.set_qform(scale @ TO_MM, 1)
    image.header.set_xyzt_units(unit)
    path = tmp_path / "a.nii.gz"
    nib.save(image, path)
    assert read_header(path).spacing == pytest.approx((2, 2, 4), rel=1e-5)
    np.testing.assert_allclose(read_header(path).affine, TO_MM, rtol=1e-5)
    assert sitk.ReadImage(str(path)).GetSpacing() == pytest.approx((2, 2, 4), rel=1e-5)
    assert set(header_warnings(path)) == ({"not_millimetres"} if factor != 1 else set())
    write_label_map(tmp_path / "mask.nii.gz", np.ones_like(SCAN, dtype=np.uint8), range(2), like=path)
    np.testing.assert_allclose(read_header(tmp_path / "mask.nii.gz").affine, TO_MM, rtol=1e-5)


ONES = {"srow_x": [1, 0, 0, 0], "srow_y": [0, 1, 0, 0], "srow_z": [0, 0, 1, 0]}
ZEROS = {"srow_x": [0] * 4, "srow_y": [0] * 4, "srow_z": [0] * 4}


@pytest.mark.parametrize(
    ("fields", "spacing", "warnings"),
    [
        ({}, (2, 2, 4), set()),
        (ONES, (2, 2, 4), {"forms_disagree"}),  # an sform of other voxels: the qform counts
        (ZEROS, (2, 2, 4), {"forms_disagree"}),  # an sform that is none
        ({**ONES, "qform_code": 0}, (1, 1, 1), {"sizes_disagree"}),  # there is no other
        ({"srow_x": [-2, 0, 0, 35]}, (2, 2, 4), {"forms_disagree"}),  # of the same voxels: the sform counts
        ({"sform_code": 0, "qform_code": 0}, (2, 2, 4), {"no_orientation"}),
        ({"xyzt_units": 5}, (2, 2, 4), {"unknown_unit"}),
    ],
)
def test_which_form_counts_and_what_is_warned_of(
    tmp_path: Path, fields: dict[str, Any], spacing: tuple[float, ...], warnings: set[str]
) -> None:
    path = nifti(tmp_path / "a.nii.gz", **fields)
    assert read_header(path).spacing == pytest.approx(spacing)
    assert set(header_warnings(path)) == warnings
    if fields.get("srow_x") == [-2, 0, 0, 35]:
        assert read_header(path).affine[0, 3] == 35
    folder = tmp_path / "channels"
    folder.mkdir()
    path.rename(folder / "t1.nii.gz")
    assert set(header_warnings(folder)) == warnings
    assert all(sentence.startswith("t1.nii.gz: ") for sentence in header_warnings(folder).values())


def test_voxel_sizes_of_zero_are_those_of_the_sform(tmp_path: Path) -> None:
    """They counted as 1 mm, and the qform, which has them, before an sform of the right sizes."""
    path, mask = nifti(tmp_path / "a.nii.gz", pixdim=[1, 0, 0, 0, 0, 0, 0, 0]), tmp_path / "mask.nii.gz"
    assert read_header(path).spacing == pytest.approx((2, 2, 4))
    assert "the sform is used" in header_warnings(path)["forms_disagree"]
    write_label_map(mask, np.ones_like(SCAN, dtype=np.uint8), range(2), like=path)
    assert read_header(mask).spacing == pytest.approx((2, 2, 4)) and header_warnings(mask) == {}
    alone = nifti(tmp_path / "b.nii.gz", pixdim=[1, 0, 0, 0, 0, 0, 0, 0], sform_code=0)
    assert read_header(alone).spacing == pytest.approx((1, 1, 1))
    assert "1 mm" in header_warnings(alone)["negative_spacing"]


def test_a_vector_image_of_itk_has_its_components_as_channels(tmp_path: Path) -> None:
    both = np.stack([SCAN, -SCAN], axis=-1)
    image = sitk.GetImageFromArray(both.transpose(2, 1, 0, 3), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "vector.nii.gz"))
    assert nib.load(tmp_path / "vector.nii.gz").shape == (7, 6, 5, 1, 2)
    assert read_header(tmp_path / "vector.nii.gz").channels == 2
    np.testing.assert_array_equal(read_volume(tmp_path / "vector.nii.gz").voxels, np.moveaxis(both, -1, 0))


def turned(degrees: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    angle, affine = np.deg2rad(degrees), np.eye(4)
    rotation = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    affine[:3, :3] = np.array(rotation) @ np.diag([2, 2, 4.0])
    return affine


@pytest.mark.parametrize("degrees", [45, 135, 225, 315])
def test_grids_a_hair_apart_near_45_degrees_are_one(degrees: float) -> None:
    """Their axes have other names: turned by them, the label lay across the scan."""
    scan = Volume(turned(degrees - 1e-4), SCAN[None].astype(np.float32))
    label = LabelMap(turned(degrees + 1e-4), SCAN.astype(np.int16))
    assert reorient_like(label, scan) is label


@pytest.mark.parametrize("mm", [1e-6, 0.00065, 1, 1e5])
def test_voxels_of_any_size_are_a_grid(tmp_path: Path, mm: float) -> None:
    assert is_invertible(np.diag([mm, mm, mm, 1]))
    assert not is_invertible(np.array([[mm, mm, 0, 0], [mm, mm, 0, 0], [0, 0, mm, 0], [0, 0, 0, 1.0]]))
    nib.save(nib.Nifti1Image(SCAN, np.diag([mm, mm, mm, 1])), tmp_path / "a.nii.gz")
    assert read_header(tmp_path / "a.nii.gz").spacing == pytest.approx((mm, mm, mm))
