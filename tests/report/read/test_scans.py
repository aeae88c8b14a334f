"""A case of a run, as it is drawn."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from app.core.files import read_json
from app.report.read.runs import Run, read_runs
from app.report.read.scans import NotDrawable, read_scan
from tests.support.runs import make_run


def test_scan_is_turned_to_canonical_and_its_first_channel_is_taken(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    scan = read_scan(read_runs([folder])[0], "case_a")
    stored = nibabel.load(folder / "case_a_image.nii.gz").get_fdata()[..., 0]
    np.testing.assert_allclose(scan.image, stored[::-1])
    assert scan.spacing == (1.0, 1.0, 2.5)
    assert scan.reference[12 - 1 - 2, 3, 2] == 1
    assert scan.prediction[12 - 1 - 2, 3, 3] == 1


def rewrite(path: Path, qform: np.ndarray | None, sform: np.ndarray | None) -> None:
    """Give a file another geometry; the sform may be one that no program can invert."""
    image = nibabel.Nifti1Image(np.asanyarray(nibabel.load(path).dataobj), None)
    image.header.set_qform(qform, 0 if qform is None else 1)
    if sform is not None:
        image.header["sform_code"] = 1
        image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = sform[:3]
    nibabel.save(image, path)


def turned(degrees: float) -> np.ndarray:
    """The affine of cubic voxels, turned about the body's axis."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return affine


def a_run(tmp_path: Path) -> tuple[Run, dict[str, Path]]:
    folder = make_run(tmp_path / "run")
    files = read_json(folder / "split.json")["files"]["case_a"]
    paths = {**files, "prediction": folder / "predictions" / "case_a.nii.gz"}
    return read_runs([folder])[0], {name: Path(path) for name, path in paths.items()}


@pytest.mark.parametrize("sform", [np.zeros((4, 4)), np.diag([3.0, 3.0, 3.0, 1.0])], ids=["zero", "sizes"])
def test_scan_is_turned_by_the_form_that_the_application_uses(tmp_path: Path, sform: np.ndarray) -> None:
    """An sform that cannot be inverted or contradicts pixdim is not used; both crashed or misplaced it."""
    run, paths = a_run(tmp_path)
    rewrite(paths["image"], np.diag([-1.0, 1.0, 2.5, 1.0]), sform)
    scan = read_scan(run, "case_a")
    assert scan.spacing == (1.0, 1.0, 2.5) and scan.reference[12 - 1 - 2, 3, 2] == 1
    stored = np.asanyarray(nibabel.load(paths["image"]).dataobj)
    np.testing.assert_array_equal(scan.image, stored[::-1, ..., 0])


def test_label_maps_are_turned_with_their_image_near_45_degrees(tmp_path: Path) -> None:
    run, paths = a_run(tmp_path)
    for name, degrees in (("image", 44.99), ("label", 45.01), ("prediction", 44.99)):
        rewrite(paths[name], None, turned(degrees))
    scan = read_scan(run, "case_a")
    np.testing.assert_array_equal(np.roll(scan.reference, 1, axis=2), scan.prediction)


def test_damaged_voxels_are_named(tmp_path: Path) -> None:
    run, paths = a_run(tmp_path)
    packed = paths["label"].read_bytes()
    paths["label"].write_bytes(packed[:100] + bytes([255] * (len(packed) - 100)))
    with pytest.raises(NotDrawable, match="case_a_label"):
        read_scan(run, "case_a")
