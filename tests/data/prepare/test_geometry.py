import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from app.core.types import Size, as_size
from app.data.prepare import resample
from app.data.prepare.geometry import (
    Region,
    forward_image,
    forward_labels,
    part_of_grid,
    plan_geometry,
)
from app.data.prepare.resample import resample_image
from tests.support.volumes import ORIENTATIONS, in_orientation


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_gives_the_same_arrays(codes: str) -> None:
    rng = np.random.default_rng(0)
    canonical = rng.random((5, 7, 9), dtype=np.float32) + 1
    labels = rng.integers(0, 3, (5, 7, 9)).astype(np.float32)
    voxels, affine = in_orientation(canonical, (3.0, 1.0, 0.8), codes)
    assert "".join(nib.aff2axcodes(affine)) == codes
    geometry = plan_geometry(voxels[None], affine, None)
    np.testing.assert_array_equal(forward_image(voxels[None], geometry)[0], canonical)
    np.testing.assert_allclose(geometry.spacing, (3.0, 1.0, 0.8))
    stored, _ = in_orientation(labels, (3.0, 1.0, 0.8), codes)
    np.testing.assert_array_equal(forward_labels(stored.astype(np.uint8), geometry), labels)


def test_an_oblique_scan_is_not_interpolated() -> None:
    voxels = np.random.default_rng(0).random((1, 6, 7, 8), dtype=np.float32) + 1
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (10, -20, 15), degrees=True).as_matrix()
    geometry = plan_geometry(voxels, affine, (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(forward_image(voxels, geometry)[0], voxels[0].transpose(2, 1, 0))


def test_a_sheared_scan_is_as_spaced_as_its_axes_are_long() -> None:
    """Its second axis runs 1.5 mm to the right and 2 mm to the front: 2.5 mm."""
    voxels = np.random.default_rng(0).random((1, 6, 7, 8), dtype=np.float32) + 1
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[0, 1] = 1.5
    geometry = plan_geometry(voxels, affine, None)
    assert geometry.spacing == (3.0, 2.5, 1.0)
    np.testing.assert_array_equal(forward_image(voxels, geometry)[0], voxels[0].transpose(2, 1, 0))


def test_crop_keeps_what_is_nonzero_in_any_channel() -> None:
    voxels = np.zeros((2, 6, 7, 8), dtype=np.float32)
    voxels[0, 1:3, 2:4, 3:5] = 1
    voxels[1, 2:5, 2:4, 3:5] = -1
    geometry = plan_geometry(voxels, np.eye(4), None)
    assert (geometry.start, geometry.stop) == ((3, 2, 1), (5, 4, 5))
    assert plan_geometry(voxels * 0, np.eye(4), None).cropped == (8, 7, 6)


@pytest.mark.parametrize("size", [(150, 40, 50), (61, 64, 41), (45, 30, 32)])
def test_resampling_in_slabs_equals_resampling_at_once(monkeypatch: pytest.MonkeyPatch, size: Size) -> None:
    image = np.random.default_rng(0).normal(0, 500, (2, 90, 40, 36)).astype(np.float32)
    whole = resample_image(image, size)
    monkeypatch.setattr(resample, "_SLAB_VOXELS", 7 * 64 * 50)
    np.testing.assert_allclose(resample_image(image, size), whole, atol=1e-3)


def test_resampled_image_covers_the_same_extent() -> None:
    """A linear ramp in millimetres stays the same ramp: no shift by half a voxel."""
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None, None] + 0.5, (20, 6, 6))
    fine = resample_image(np.ascontiguousarray(ramp)[None], as_size((40, 6, 6)))[0, :, 3, 3]
    np.testing.assert_allclose(fine[8:-8], (np.arange(40)[8:-8] + 0.5) / 2, atol=2e-3)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ((13, 31), (2, 14)),  # 3 voxels of 1 mm after the first, 18 long
        ((10, 34), (0, 16)),
        ((33, 34), (15, 16)),  # round(23 / 1.5) is 15, the last voxel
    ],
)
def test_a_part_of_the_crop_is_as_long_on_the_grid_as_if_it_were_resampled_by_itself(
    part: tuple[int, int], found: tuple[int, int]
) -> None:
    voxels, crop = np.ones((1, 40, 40, 40), dtype=np.float32), Region((10,) * 3, (34,) * 3)
    geometry = plan_geometry(voxels, np.eye(4), (1.5, 1.5, 1.5), crop)
    assert geometry.resampled == (16, 16, 16)
    inside = part_of_grid(Region((part[0],) * 3, (part[1],) * 3), geometry)
    assert inside == Region((found[0],) * 3, (found[1],) * 3)
