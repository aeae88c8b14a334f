"""Voxel grids in space: distances between grids, and axes reordered and flipped to match another grid."""

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app.core.types import Size, as_size

Affine = NDArray[np.float64]
"""A (4, 4) matrix from voxel (i, j, k) to RAS millimetres."""

_FLAT = 1e-6  # volume spanned by three axes of length 1; if smaller, they lie in a plane
_RIGHT_ANGLE = 1e-4  # cosine, 0.006 degrees: the rounding error of directions with six decimals

_AS_IT_IS = np.array([[0, 1], [1, 1], [2, 1]])


def corners_apart_mm(size: Size, first: Affine, second: Affine) -> float:
    """Return the largest distance in mm between corresponding corner voxels of two grids of `size` voxels."""
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)]) * (*(n - 1 for n in size), 1)
    return float(np.linalg.norm(corners @ (first - second).T, axis=1).max())


def is_invertible(affine: Affine) -> bool:
    """Return whether an affine is finite and invertible; the size of its voxels does not matter."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() == 0:
        return False
    return abs(float(np.linalg.det(affine[:3, :3] / lengths))) >= _FLAT


def is_sheared(affine: Affine) -> bool:
    """Return whether axes are not at right angles, beyond rounding errors, as with a tilted gantry."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(axes.T @ axes - np.eye(3)).max()) > _RIGHT_ANGLE


def axis_codes(affine: Affine) -> str:
    """Return the directions of the voxel axes, for example RAS or LPS; ? if an axis has none."""
    return "".join(code or "?" for code in nib.aff2axcodes(affine))


def reoriented_grid(size: Size, affine: Affine, like: Affine) -> tuple[Size, Affine]:
    """Return size and affine of a grid after its axes are permuted and flipped to match those of `like`."""
    turn = _reorientation(affine, like)
    turned = affine @ nib.orientations.inv_ornt_aff(turn, size)
    places = np.argsort(turn[:, 0])
    return as_size([size[int(axis)] for axis in places]), np.asarray(turned)


def reoriented_voxels(voxels: NDArray[Any], affine: Affine, like: Affine) -> NDArray[Any]:
    """Return voxels (i, j, k) permuted and flipped as in `reoriented_grid`, without interpolation."""
    result: NDArray[Any] = nib.orientations.apply_orientation(voxels, _reorientation(affine, like))
    return result


def needs_reorienting(affine: Affine, like: Affine) -> bool:
    """Return whether the axes differ in order or direction from those of `like`."""
    return not np.array_equal(_reorientation(affine, like), _AS_IT_IS)


def _reorientation(affine: Affine, like: Affine) -> Any:
    """Return nibabel's orientation array for the axes of one grid relative to those of another.

    Comparing the RAS names of axes instead would fail near 45 degrees, where the axes of two nearly equal
    grids can have different names.
    """
    return nib.io_orientation(np.linalg.inv(like) @ affine)
