"""Voxel grids in space: how far two lie apart, and one turned onto the axes of another."""

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app.core.types import Size, as_size

Affine = NDArray[np.float64]
"""(4, 4), from voxel (i, j, k) to RAS millimetres."""

_FLAT = 1e-6  # volume of three axes of length 1: below, they lie in a plane
_RIGHT_ANGLE = 1e-4  # cosine: .006 degrees, what six decimals of a direction leave open

_AS_IT_IS = np.array([[0, 1], [1, 1], [2, 1]])


def corners_apart_mm(size: Size, first: Affine, second: Affine) -> float:
    """The largest distance between the same corner voxel of two grids of `size` voxels."""
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)]) * (*(n - 1 for n in size), 1)
    return float(np.linalg.norm(corners @ (first - second).T, axis=1).max())


def is_invertible(affine: Affine) -> bool:
    """Return whether a finite affine maps voxels to places and places back, however small its voxels are."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() == 0:
        return False
    return abs(float(np.linalg.det(affine[:3, :3] / lengths))) >= _FLAT


def is_sheared(affine: Affine) -> bool:
    """Return whether axes are not at right angles, beyond rounding, as those of a tilted gantry."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(axes.T @ axes - np.eye(3)).max()) > _RIGHT_ANGLE


def axis_codes(affine: Affine) -> str:
    """Where the voxel axes run to, as in RAS or LPS."""
    return "".join(code or "?" for code in nib.aff2axcodes(affine))


def turned_grid(size: Size, affine: Affine, like: Affine) -> tuple[Size, Affine]:
    """Size and affine of a grid after its axes are permuted and flipped to run as those of `like`."""
    turn = _turn(affine, like)
    turned = affine @ nib.orientations.inv_ornt_aff(turn, size)
    places = np.argsort(turn[:, 0])
    return as_size([size[int(axis)] for axis in places]), np.asarray(turned)


def turned_voxels(voxels: NDArray[Any], affine: Affine, like: Affine) -> NDArray[Any]:
    """The voxels (i, j, k) of such a grid, permuted and flipped alike; nothing is interpolated."""
    result: NDArray[Any] = nib.orientations.apply_orientation(voxels, _turn(affine, like))
    return result


def is_turned(affine: Affine, like: Affine) -> bool:
    """Whether axes have another order or direction than those of `like`."""
    return not np.array_equal(_turn(affine, like), _AS_IT_IS)


def _turn(affine: Affine, like: Affine) -> Any:
    """As nibabel writes it, by how the axes lie to each other.

    Near 45 degrees the axes of two grids a hair apart have different names, but one order.
    """
    return nib.io_orientation(np.linalg.inv(like) @ affine)
