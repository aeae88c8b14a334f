"""What a file says of its voxels before any is read, and whether that can be true.

A header is a stranger's word: dimensions are believed only as far as the file could hold them.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.machine import memory_bytes
from app.core.types import Size
from app.io.grid import axis_codes, is_invertible

_DEFLATE = 1032  # bytes that one byte of deflate can become at most (zlib's technical details)
_FLOAT_BYTES = 4
_LEAST_MM, _MOST_MM = 1e-9, 1e9  # of a voxel, and how far a scan may lie from the origin


@dataclass(frozen=True)
class Header:
    """Size (i, j, k), channels, affine to RAS millimetres and the stored type."""

    size: Size
    channels: int
    affine: NDArray[np.float64]
    dtype: np.dtype[np.generic]
    uneven: float = 0.0
    """How far a slice of a series lies from an even grid at most, as a share of the slice distance."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres along (i, j, k)."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k

    @property
    def orientation(self) -> str:
        """Where the axes run to, as in RAS or LPS."""
        return axis_codes(self.affine)


def make_header(
    path: Path,
    shape: tuple[int, ...],
    *,
    affine: NDArray[np.float64],
    dtype: np.dtype[np.generic],
    stored_bytes: int,
    packed: bool = True,
    uneven: float = 0.0,
) -> Header:
    """A header of voxels (i, j, k) or (i, j, k, channels), checked; `packed` files may hold more than bytes.

    Raises:
        InputError: other dimensions, more voxels than the file or this machine can hold, voxels that are no
            numbers, an affine that cannot be inverted or is out of all bounds.
    """
    size, channels = shape[:3], shape[3] if len(shape) == 4 else 1
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(f"{path}: got shape {shape}, wanted (i, j, k) or (i, j, k, channels)")
    if not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)):
        raise InputError(f"{path}: got voxels of type {dtype}, wanted whole or real numbers")
    _refuse_gigantic(path, shape, dtype.itemsize, stored_bytes, _DEFLATE if packed else 1)
    if np.abs(affine).max() > _MOST_MM or np.abs(affine[:3, :3]).max() < _LEAST_MM:
        raise InputError(
            f"{path}: got an affine {affine.tolist()}, wanted voxels and places between {_LEAST_MM:g} and "
            f"{_MOST_MM:g} mm"
        )
    if not is_invertible(affine):
        raise InputError(f"{path}: got a singular affine {affine.tolist()}, wanted one that can be inverted")
    return Header((size[0], size[1], size[2]), channels, affine, dtype, uneven)


def _refuse_gigantic(
    path: Path, shape: tuple[int, ...], voxel_bytes: int, stored_bytes: int, growth: int
) -> None:
    voxels = math.prod(shape)
    if voxels * voxel_bytes > growth * stored_bytes:
        raise InputError(
            f"{path}: got shape {shape} in its header, more than the {stored_bytes} bytes of its voxels "
            "can hold; is it damaged or cut short?"
        )
    if voxels * _FLOAT_BYTES > memory_bytes():
        raise InputError(
            f"{path}: got shape {shape}, needs {voxels * _FLOAT_BYTES / 1e9:.0f} GB of memory, "
            f"this machine has {memory_bytes() / 1e9:.0f} GB"
        )
