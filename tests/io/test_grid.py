"""Voxel grids in space: their distance, their angles, and their axes in another order."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from app.io.grid import (
    Affine,
    corners_apart_mm,
    is_invertible,
    is_sheared,
    needs_reorienting,
    reoriented_grid,
    reoriented_voxels,
)

EYE = np.eye(4)


def turned(degrees: float) -> Affine:
    """Return a grid of three spacings, turned around its third axis."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() * (0.5, 2.0, 3.0)
    return affine


def test_corners_are_as_far_apart_as_the_last_voxels() -> None:
    moved = EYE.copy()
    moved[:3, 3] = (0, 3, 4)
    assert corners_apart_mm((3, 1, 1), EYE, np.diag([2.0, 1.0, 1.0, 1.0])) == 2.0  # at 2 mm and at 4 mm
    assert corners_apart_mm((3, 4, 5), EYE, moved) == 5.0


@pytest.mark.parametrize(("degrees", "sheared"), [(0.005, False), (0.01, True), (20, True)])
def test_a_grid_is_sheared_if_its_angles_are_not_right(degrees: float, sheared: bool) -> None:
    tilted = turned(30)
    angle = np.radians(90 + 30 - degrees)
    tilted[:2, 1] = 2 * np.cos(angle), 2 * np.sin(angle)
    assert is_sheared(tilted) == sheared
    assert not is_sheared(turned(30))


def test_a_grid_needs_three_axes_of_some_length() -> None:
    plane = np.eye(4)
    plane[:, 1] = plane[:, 0]
    assert is_invertible(np.diag([1e-6, 1.0, 1.0, 1.0]))
    for wrong in (plane, np.diag([0.0, 1.0, 1.0, 1.0]), np.diag([np.nan, 1.0, 1.0, 1.0])):
        assert not is_invertible(wrong)


def test_axes_are_permuted_and_flipped_with_their_positions() -> None:
    """The voxel (i, j, k) lies at (5 - j, k, i) mm; the first of the new axes begins at j = 2, at 3 mm."""
    affine = np.array([[0.0, -1, 0, 5], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    size, found = reoriented_grid((2, 3, 4), affine, EYE)
    wanted = np.eye(4)
    wanted[0, 3] = 3
    assert size == (3, 4, 2)
    np.testing.assert_array_equal(found, wanted)
    voxels = np.arange(24).reshape(2, 3, 4)
    moved = reoriented_voxels(voxels, affine, EYE)
    assert moved.shape == (3, 4, 2)
    for (i, j, k), value in np.ndenumerate(voxels):
        assert moved[2 - j, k, i] == value
    assert needs_reorienting(affine, EYE) and not needs_reorienting(found, EYE)


def test_a_grid_turned_by_less_than_half_a_right_angle_keeps_its_axes() -> None:
    assert not needs_reorienting(turned(40), turned(0))
    assert needs_reorienting(turned(50), turned(0))
