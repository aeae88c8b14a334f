"""Headers of scan files, validated before any voxel is read.

Dimensions are accepted only if the file is large enough to hold that many voxels.
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

_DEFLATE = 1032  # most bytes that one compressed byte can expand to (zlib's technical details)
_FLOAT_BYTES = 4
_LEAST_MM, _MOST_MM = 1e-9, 1e9  # smallest voxel, and largest distance of a scan from the origin


@dataclass(frozen=True)
class Header:
    """A scan's size (i, j, k), number of channels, affine to RAS millimetres and stored type."""

    size: Size
    channels: int
    affine: NDArray[np.float64]
    dtype: np.dtype[np.generic]
    uneven: float = 0.0
    """Largest distance of a slice from an even grid, as a share of the slice distance (DICOM series)."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres along (i, j, k)."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k

    @property
    def orientation(self) -> str:
        """Directions of the voxel axes, for example RAS or LPS."""
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
    """Return the validated header of voxels with `shape` (i, j, k) or (i, j, k, channels).

    `stored_bytes` is the size of the stored voxels; if they are `packed` (compressed), they may expand.

    Raises:
        InputError: the shape is another, there are more voxels than the file or this machine's memory can
            hold, voxels are not numbers, or the affine cannot be inverted or has implausible values.
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
