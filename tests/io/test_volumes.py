import gzip
import re
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.errors import InputError
from app.io.scan_paths import case_name
from app.io.volumes import read_header, read_label_map, read_volume, write_label_map

OBLIQUE = np.array([[0.9, -0.3, 0.1, 10], [0.4, 1.1, -0.2, -20], [0.0, 0.3, 2.5, 30], [0, 0, 0, 1]])


def save(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64] = OBLIQUE) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def test_3d_and_4d_scans_become_channels_first(tmp_path: Path) -> None:
    voxels = np.arange(2 * 3 * 4 * 2, dtype=np.int16).reshape(2, 3, 4, 2)
    volume = read_volume(save(tmp_path / "a.nii.gz", voxels))
    assert volume.voxels.shape == (2, 2, 3, 4) and volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels[1], voxels[..., 1])
    assert read_volume(save(tmp_path / "b.nii", voxels[..., 0])).voxels.shape == (1, 2, 3, 4)
    np.testing.assert_allclose(volume.spacing, np.linalg.norm(OBLIQUE[:3, :3], axis=0), rtol=1e-6)


def test_scaled_voxels_are_what_they_stand_for(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), OBLIQUE)
    image.header.set_slope_inter(0.5, -1000)
    nib.save(image, tmp_path / "a.nii.gz")
    raw = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
    assert np.frombuffer(raw[112:120], dtype="<f4").tolist() == [0.5, -1000]
    stored = np.frombuffer(raw[352:], dtype="<i2").reshape(2, 2, 2, order="F")
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.voxels[0], stored * np.float32(0.5) - 1000)
    assert volume.voxels.dtype == np.float32


def test_float_labels_with_integer_values_are_labels(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 1], dtype=np.float32).reshape(1, 2, 2)
    assert read_label_map(save(tmp_path / "a.nii.gz", labels), range(3)).voxels.dtype == np.uint8


@pytest.mark.parametrize("value", [3.0, 0.5, -1.0, np.nan])
def test_unknown_label_values_are_named(tmp_path: Path, value: float) -> None:
    labels = np.full((2, 2, 2), value, dtype=np.float32)
    path = save(tmp_path / "a.nii.gz", labels)
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_label_map(path, range(3))
    found = str(error.value).replace(str(path), "")
    assert f" {value:g}, " in found and "0 to 2" in found
    for known in (0, 2):  # the range of the labels
        assert re.search(rf"\b{known}\b", found)


def test_nan_in_a_scan_is_counted(tmp_path: Path) -> None:
    voxels = np.zeros((3, 3, 3), dtype=np.float32)
    voxels[0, 0, :2] = np.nan
    path = save(tmp_path / "a.nii.gz", voxels)
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_volume(path)
    for token in ("2", "NaN"):
        assert re.search(rf"\b{token}\b", str(error.value).replace(str(path), ""))


def test_truncated_gzip_is_an_input_error(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)))
    read_volume(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_volume(path)


@pytest.mark.parametrize(("kind", "first"), [(nib.Nifti1Image, 352), (nib.Nifti2Image, 544)])
def test_an_extension_longer_than_the_file(tmp_path: Path, kind: type, first: int) -> None:
    image = kind(np.arange(27, dtype=np.int16).reshape(3, 3, 3), OBLIQUE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 40))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").voxels[0].ravel(), np.arange(27))
    content = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    content[first : first + 4] = (2**30).to_bytes(4, "little")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match=r"a\.nii\.gz: a header extension of 1073741824 bytes"):
        read_header(tmp_path / "a.nii.gz")


def test_other_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"not an image"))
    for name, tokens in (
        ("text.nii.gz", ("NIfTI",)),
        ("none.nii.gz", ()),
        ("a.png", ("'.png'", ".nii.gz", ".nrrd", ".mha")),
    ):
        with pytest.raises(InputError, match=re.escape(str(tmp_path / name))) as error:
            read_volume(tmp_path / name)
        for token in tokens:
            assert token in str(error.value).replace(str(tmp_path / name), "")
    two = save(tmp_path / "two.nii.gz", np.zeros((2, 2, 2, 2), dtype=np.uint8))
    with pytest.raises(InputError, match=re.escape(str(two))) as error:
        read_label_map(two, range(2))
    assert "(2, 2, 2, 2)" in str(error.value)


@pytest.mark.parametrize("apart", [False, True])
def test_voxels_as_text_are_complete_or_refused(tmp_path: Path, apart: bool) -> None:
    """ITK returned undefined voxels in place of missing ones."""
    numbers = list(range(24))
    head = "ObjectType = Image\nNDims = 3\nBinaryData = False\nElementSpacing = 1 1 1\nDimSize = 4 3 2\n"
    head += f"ElementType = MET_SHORT\nElementDataFile = {'a.raw' if apart else 'LOCAL'}\n"
    path = tmp_path / ("a.mhd" if apart else "a.mha")

    def written(words: str) -> Path:
        path.write_text(head if apart else head + words)
        (tmp_path / "a.raw").write_text(words)
        return path

    text = " ".join(map(str, numbers))
    voxels = read_volume(written(text + "\n")).voxels[0]
    np.testing.assert_array_equal(voxels.ravel(order="F"), numbers)
    for words, got in (("1 2 3\n", "3 numbers"), ("x " * 24, "other text"), (text, "no line end")):
        with pytest.raises(InputError, match=f"{re.escape(str(path))}: got {got}"):
            read_volume(written(words))


def test_values_beyond_single_precision_are_infinite_without_a_warning(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", np.full((3, 3, 3), 1e300))
    with warnings.catch_warnings(action="error"), pytest.raises(InputError, match=r"27 NaN or infinite"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_picture_of_two_dimensions_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"two{suffix}"
    sitk.WriteImage(sitk.Image([5, 6], sitk.sitkFloat32), str(path))
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_header(path)
    assert re.search(r"\b2\b", str(error.value).replace(str(path), ""))


def test_singular_affine_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.uint8), None)
    image.header["srow_x"], image.header["sform_code"] = [1, 0, 0, 0], 1
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "a.nii.gz"))) as error:
        read_volume(tmp_path / "a.nii.gz")
    assert "[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]" in str(error.value)


def test_written_label_map_has_exactly_the_scans_geometry(tmp_path: Path) -> None:
    scan = save(tmp_path / "scan.nii.gz", np.zeros((4, 5, 6, 2), dtype=np.float32))
    labels = np.arange(120, dtype=np.uint8).reshape(4, 5, 6) % 3
    write_label_map(tmp_path / "mask.nii.gz", labels, range(3), like=scan)
    mask = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(mask.affine, nib.load(scan).affine)
    np.testing.assert_array_equal(mask.get_qform(), nib.load(scan).get_qform())
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(mask.dataobj), labels)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_label_map_of_one_channel_is_read_from_every_format(tmp_path: Path, suffix: str) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (4, 3, 2)).astype(np.uint8)
    image = sitk.JoinSeries([sitk.GetImageFromArray(labels.transpose(2, 1, 0))])
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(read_label_map(tmp_path / f"a{suffix}", (0, 1, 2)).voxels, labels)


def test_this_folder_and_the_one_above_have_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "patient" / "series").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "patient", target_is_directory=True)
    monkeypatch.chdir(tmp_path / "patient" / "series")
    assert (case_name(Path()), case_name(Path(".."))) == ("series", "patient")
    assert case_name(tmp_path / "link") == "link"


def test_case_name_drops_the_whole_suffix() -> None:
    assert case_name(Path("x/case_1.v2.nii.gz")) == "case_1.v2"
