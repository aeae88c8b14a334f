"""The same scan through every format: the same voxels on the same grid."""

import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from app.core.errors import InputError
from app.core.reading import Reading
from app.core.task import Case, Task
from app.data.plan.planner import make_plan
from app.data.prepare.prepare import prepare, read_case
from app.data.sets.decathlon import read_task
from app.io.itk import as_itk
from app.io.scan_paths import case_name
from app.io.volumes import read_header, read_label_map, read_volume, write_label_map
from tests.support.config import AUTO, fingerprint_of
from tests.support.volumes import REAL_DATA, MakeTask, write_series

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = TURN * (0.75, 0.9, 2.5), (-31, 12, 40)


def scan(channels: int = 1) -> np.ndarray:
    voxels = np.random.default_rng(0).integers(-1000, 3000, size=(7, 6, 5, channels), dtype=np.int16)
    return voxels if channels > 1 else voxels[..., 0]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_gives_the_same_volume(tmp_path: Path, suffix: str, channels: int) -> None:
    path, voxels = tmp_path / f"scan{suffix}", scan(channels)
    if suffix.startswith(".nii"):
        nib.save(nib.Nifti1Image(voxels, AFFINE), path)
    else:
        sitk.WriteImage(as_itk(voxels, AFFINE), str(path), useCompression=True)
    volume, header = read_volume(path), read_header(path)
    np.testing.assert_array_equal(volume.voxels, voxels.reshape(7, 6, 5, channels).transpose(3, 0, 1, 2))
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert (header.size, header.channels, header.dtype) == ((7, 6, 5), channels, np.int16)
    assert case_name(path) == "scan"


def test_a_series_has_the_geometry_simpleitk_gives_it(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", scan(), AFFINE)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels[0], scan())
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    np.testing.assert_allclose(volume.spacing, image.GetSpacing(), atol=1e-5)
    corner = volume.affine @ (6, 5, 4, 1)
    ras = np.array(image.TransformIndexToPhysicalPoint((6, 5, 4))) * (-1, -1, 1)
    np.testing.assert_allclose(corner[:3], ras, atol=1e-4)
    assert read_header(folder).size == (7, 6, 5)


def test_a_folder_of_series_is_a_scan_of_several_channels(tmp_path: Path) -> None:
    first = write_series(tmp_path / "case_1" / "0_CT", scan(), AFFINE)
    write_series(tmp_path / "case_1" / "1_PET", scan() + 1, AFFINE)
    volume = read_volume(tmp_path / "case_1")
    np.testing.assert_array_equal(volume.voxels, np.stack([scan(), scan() + 1]))
    assert read_header(tmp_path / "case_1").channels == 2 and case_name(first.parent) == "case_1"
    moved = AFFINE.copy()
    moved[2, 3] += 5
    write_series(tmp_path / "case_1" / "2_PET", scan(), moved)
    with pytest.raises(InputError, match="2_PET") as error:
        read_volume(tmp_path / "case_1")
    assert re.search(r"\b5 mm", str(error.value))


def test_a_tilted_gantry_becomes_a_sheared_affine(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", scan(), AFFINE)
    for k in range(5):
        (file,) = folder.glob(f"*_{k}.dcm")
        image = sitk.ReadImage(str(file))
        x, y, z = image.GetOrigin()
        image.SetMetaData("0020|0032", f"{x}\\{y + 0.4 * k}\\{z}")
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(file))
        writer.Execute(image)
    volume = read_volume(folder)
    np.testing.assert_allclose(volume.affine[:3, 2], [0, -0.4, 2.5], atol=1e-4)
    assert volume.voxel_mm3 == pytest.approx(volume.spacing[0] * volume.spacing[1] * 2.5, rel=1e-4)


def test_faulty_series_are_named(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "gap", scan(), AFFINE)
    next(folder.glob("*_2.dcm")).unlink()
    with pytest.raises(InputError, match=re.escape(str(folder))) as error:
        read_volume(folder)
    found = str(error.value).replace(str(folder), "")
    for token in (r"\b5 mm", r"\b2\.5 mm", r"\b2\b(?!\.)", r"\b3\b"):  # distances; the slices beside the gap
        assert re.search(token, found)
    both = write_series(tmp_path / "both", scan(), AFFINE)
    for file in write_series(tmp_path / "other", scan(), AFFINE).iterdir():
        file.rename(both / f"other_{file.name}")
    with pytest.raises(InputError, match=re.escape(str(both))) as error:
        read_volume(both, Reading(modalities=("CT",)))
    assert re.search(r"\b2\b", str(error.value).replace(str(both), ""))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "empty"))):
        read_volume(tmp_path / "empty")


def test_a_mask_of_a_scan_that_is_no_nifti_lies_on_the_scan(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", scan(), AFFINE)
    write_label_map(tmp_path / "mask.nii.gz", np.ones((7, 6, 5), dtype=np.uint8), range(2), like=folder)
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii.gz").affine, AFFINE, atol=1e-5)
    assert int(nib.load(tmp_path / "mask.nii.gz").header["sform_code"]) == 1


def test_a_data_set_may_list_any_format(make_task: MakeTask, tmp_path: Path) -> None:
    """Image as a series, label as NRRD."""
    task = read_task(make_task(cases=1))
    (case,) = task.cases
    affine = read_volume(case.image).affine
    image = write_series(tmp_path / "x", np.zeros((19, 22, 17), dtype=np.int16), affine)
    assert case.label is not None
    sitk.WriteImage(as_itk(read_label_map(case.label, range(2)).voxels, affine), str(tmp_path / "label.nrrd"))
    volume, label_map = read_case(Case("x", image, tmp_path / "label.nrrd"), task)
    assert volume.voxels.shape == (1, 19, 22, 17) and label_map.voxels.sum() > 0


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="real data sets are not here")
def test_a_sarcoma_case_is_prepared_alike_from_every_format(tmp_path: Path) -> None:
    task: Task = read_task(REAL_DATA / "Task50_SoftTissueSarcoma")
    task = replace(task, cases=task.cases[:1])
    plan, _ = make_plan(fingerprint_of(task), task, replace(AUTO, spacing=(3.0, 2.0, 2.0)))
    (case,) = task.cases
    nifti = nib.load(case.image)
    voxels, affine = np.asanyarray(nifti.dataobj), np.asarray(nifti.affine, dtype=np.float64)
    sitk.WriteImage(as_itk(voxels, affine), str(tmp_path / "scan.nrrd"), useCompression=True)
    for channel, name in enumerate(("0_CT", "1_PET")):
        write_series(tmp_path / "series" / name, voxels[..., channel], affine)
    wanted = prepare(*read_case(case, task), plan)
    for other in (tmp_path / "scan.nrrd", tmp_path / "series"):
        got = prepare(*read_case(Case("x", other, case.label), task), plan)
        np.testing.assert_array_equal(got.image, wanted.image)
        np.testing.assert_array_equal(got.labels, wanted.labels)
