"""Volumes on disk in bricks, so that reading a patch of a large scan reads little else.

Bricks have up to 32 voxels per side and are stored next to each other along W. A patch of 154x154x154 voxels
in a scan of 512x512x600 lies in at most 36 contiguous runs of the file, which hold at most 1.94 times the
patch's voxels. Stored as whole slices, it would lie in 154 runs that hold 3.3 times its voxels. Volumes of at
most 64 voxels per side are stored as they are.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.types import Size, as_size

_SIDE = 32
WHOLE = 64
_HALF_LIMIT = 16.0  # half precision rounds larger values by more than 1/256


@dataclass(frozen=True)
class Bricks:
    """An array (C, D, H, W) as stored on disk.

    `stored` is the array itself, or bricks (nD, nH, nW, C, d, h, w) padded with zeros; `size` is (D, H, W).
    """

    stored: NDArray[Any]
    size: Size

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.stored.shape[0] if self.stored.ndim == 4 else self.stored.shape[3])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type on disk."""
        return self.stored.dtype

    def cut(self, start: Size, size: Size, dtype: type[Any] | None = None) -> NDArray[Any]:
        """Return a new array (C, *size) of the voxels from `start` on; those outside the volume are zero.

        It has the data type on disk unless `dtype` is given.
        """
        result = np.empty((self.channels, *size), dtype=dtype or self.stored.dtype)
        self.cut_into(result, start)
        return result

    def cut_into(self, result: NDArray[Any], start: Size) -> None:
        """Fill an array (C, d, h, w) with the voxels from `start` on; zero outside the volume."""
        size = as_size(result.shape[1:])
        if any(first < 0 or first + n > end for first, n, end in zip(start, size, self.size, strict=True)):
            result[:] = 0
        axes = zip(start, size, self.size, self._sides, strict=True)
        for parts in product(*(list(_parts(*axis)) for axis in axes)):
            brick, source, target = zip(*parts, strict=True)
            voxels = self.stored if self.stored.ndim == 4 else self.stored[brick]
            slices = voxels[:, source[0]]
            if slices.dtype != result.dtype and self.stored.ndim != 4:
                # Whole slices of a brick are converted: converting row by row takes three times as long.
                slices = slices.astype(result.dtype)
            result[(slice(None), *target)] = slices[(slice(None), slice(None), *source[1:])]

    def whole(self, dtype: type[Any] | None = None) -> NDArray[Any]:
        """Return all voxels as a new array (C, D, H, W)."""
        return self.cut((0, 0, 0), self.size, dtype)

    def runs(self, start: Size, size: Size) -> tuple[int, int]:
        """Return the number of contiguous runs of the file that a cut reads, and the voxels they hold."""
        axes = zip(start, size, self.size, self._sides, strict=True)
        depth, height, width = (len(list(_parts(*axis))) for axis in axes)
        return depth * height, depth * height * width * math.prod(self._sides)

    @property
    def _sides(self) -> Size:
        return self.size if self.stored.ndim == 4 else as_size(self.stored.shape[4:])


def to_bricks(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return an array (C, D, H, W) in the form in which `Bricks` stores it."""
    size = voxels.shape[1:]
    if max(size) <= WHOLE:
        return voxels
    counts = [1 if extent <= WHOLE else math.ceil(extent / _SIDE) for extent in size]
    sides = [math.ceil(extent / count) for extent, count in zip(size, counts, strict=True)]
    counts = [math.ceil(extent / side) for extent, side in zip(size, sides, strict=True)]
    bricks = np.zeros((*counts, len(voxels), *sides), dtype=voxels.dtype)
    for place in np.ndindex(*counts):
        cut = [slice(index * side, (index + 1) * side) for index, side in zip(place, sides, strict=True)]
        part = voxels[(slice(None), *cut)]
        bricks[place][(slice(None), *map(slice, part.shape[1:]))] = part
    return bricks


def stored_image(image: NDArray[np.float32]) -> NDArray[Any]:
    """Return an image (C, D, H, W) of normalised intensities in the precision in which it is stored.

    That is half precision for a large image if rounding changes no voxel by more than 1/256, else single.
    """
    low, high = float(image.min(initial=0)), float(image.max(initial=0))
    exact = max(image.shape[1:]) <= WHOLE or max(-low, high) > _HALF_LIMIT
    return image if exact else image.astype(np.float16)


def _parts(start: int, length: int, extent: int, side: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield the bricks along an axis that a cut overlaps: index, slice of the brick, slice of the cut."""
    low, high = max(start, 0), min(start + length, extent)
    for brick in range(low // side, -(-high // side)):
        first, last = max(low, brick * side), min(high, (brick + 1) * side)
        yield brick, slice(first - brick * side, last - brick * side), slice(first - start, last - start)
