"""The way from a scan's own grid to the network's grid, and back.

Forward: reorient to SAR (the axes run to superior, anterior and right), crop, resample. An oblique scan is
not rotated: reorienting permutes and flips axes, it never interpolates.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app.core.types import Labels, Size, Spacing, as_size, as_spacing
from app.data.prepare.resample import Change, resample_image, resample_labels

_CANONICAL = nib.orientations.axcodes2ornt(("S", "A", "R"))


@dataclass(frozen=True)
class Geometry:
    """The way of one scan onto the network's grid, with all that the way back needs.

    Sizes and crop bounds are (D, H, W) after reorientation. `orientation` is nibabel's (axis, flip) for each
    axis of the file, `full` the size of the scan, `spacing` the scan's own spacing and `resampled` the size
    on the network's grid.
    """

    orientation: tuple[tuple[int, int], ...]
    full: Size
    start: Size
    stop: Size
    spacing: Spacing
    resampled: Size

    @property
    def cropped(self) -> Size:
        """Size of the crop on the scan's own grid, (D, H, W)."""
        return as_size([stop - start for start, stop in zip(self.start, self.stop, strict=True)])

    @property
    def scan(self) -> Size:
        """Size of the scan in the axis order of its file, (i, j, k)."""
        return as_size([self.full[axis] for axis in self._file_axes()])

    @property
    def scan_spacing(self) -> Spacing:
        """Spacing of the scan in mm, in the axis order of its file, (i, j, k)."""
        return as_spacing([self.spacing[axis] for axis in self._file_axes()])

    def _file_axes(self) -> list[int]:
        """Return the index in (D, H, W) of each axis of the file."""
        axes = nib.orientations.ornt_transform(np.asarray(self.orientation), _CANONICAL)[:, 0]
        return [int(axis) for axis in axes]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the geometry that `to_dict` gave these values for."""
        return cls(
            orientation=tuple((int(axis), int(flip)) for axis, flip in values["orientation"]),
            full=as_size(values["full"]),
            start=as_size(values["start"]),
            stop=as_size(values["stop"]),
            spacing=as_spacing(values["spacing"]),
            resampled=as_size(values["resampled"]),
        )


@dataclass(frozen=True)
class Region:
    """A box of a scan, from voxel `start` up to but not including `stop`, (D, H, W) after reorientation."""

    start: Size
    stop: Size

    @property
    def size(self) -> Size:
        """Voxels along each axis, (D, H, W)."""
        return as_size([stop - start for start, stop in zip(self.start, self.stop, strict=True)])

    @classmethod
    def around(cls, mask: NDArray[np.bool_]) -> "Region | None":
        """Return the smallest box that holds a mask (D, H, W); None if the mask is empty."""
        sides = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            hits = np.flatnonzero(mask.any(axis=others))
            if not hits.size:
                return None
            sides.append((int(hits[0]), int(hits[-1]) + 1))
        return cls(as_size([low for low, _ in sides]), as_size([high for _, high in sides]))

    def union(self, other: "Region") -> "Region":
        """Return the smallest box that holds both."""
        return Region(
            as_size([min(pair) for pair in zip(self.start, other.start, strict=True)]),
            as_size([max(pair) for pair in zip(self.stop, other.stop, strict=True)]),
        )

    def grown(self, margin: Size, least: Size, full: Size) -> "Region":
        """Return the box with `margin` voxels more on either side and at least `least` long along each axis.

        It stays inside a scan of `full` voxels. All sizes are (D, H, W).
        """
        start, stop = [], []
        for low, high, more, wanted, n in zip(self.start, self.stop, margin, least, full, strict=True):
            first, last = max(0, low - more), min(n, high + more)
            missing = max(0, min(wanted, n) - (last - first))
            first = min(max(0, first - missing // 2), n - (last - first + missing))
            start.append(first)
            stop.append(max(last, first + min(wanted, n)))
        return Region(as_size(start), as_size(stop))


def plan_geometry(
    voxels: NDArray[np.float32],
    affine: NDArray[np.float64],
    target_mm: Spacing | None,
    region: Region | None = None,
) -> Geometry:
    """Return the way of a scan (C, i, j, k) onto a grid of spacing `target_mm` (D, H, W).

    None keeps the scan's own spacing. The scan is cropped to `region`, or else to its non-zero voxels.
    """
    orientation, spacing = nib.io_orientation(affine), oriented_spacing(affine)
    oriented = _orient(voxels, orientation)
    full = as_size(oriented.shape[1:])
    crop = region or Region.around((oriented != 0).any(axis=0)) or Region((0, 0, 0), full)
    target = target_mm or spacing
    sizes = [max(1, round(n * own / new)) for n, own, new in zip(crop.size, spacing, target, strict=True)]
    return Geometry(
        orientation=tuple((int(axis), int(flip)) for axis, flip in orientation),
        full=full,
        start=crop.start,
        stop=crop.stop,
        spacing=spacing,
        resampled=as_size(sizes),
    )


def oriented_spacing(affine: NDArray[np.float64]) -> Spacing:
    """Return the spacing (D, H, W) in mm of a scan, after reorientation."""
    axes = np.argsort(nib.orientations.ornt_transform(nib.io_orientation(affine), _CANONICAL)[:, 0])
    return as_spacing(np.linalg.norm(affine[:3, :3], axis=0)[axes].tolist())


def reoriented(voxels: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Return a view (C, D, H, W) of all voxels (C, i, j, k), reoriented but not cropped."""
    return _orient(voxels, nib.io_orientation(affine))


def forward_image(
    voxels: NDArray[np.float32], geometry: Geometry, changes: Sequence[Change] = ()
) -> NDArray[np.float32]:
    """Return a scan (C, i, j, k) as a new array (C, D, H, W) on the network's grid.

    It is resampled by cubic splines; `changes` are as in `resample_image`.
    """
    return resample_image(network_view(voxels, geometry), geometry.resampled, changes)


def forward_labels(voxels: Labels, geometry: Geometry) -> Labels:
    """Return a label map (i, j, k) as (D, H, W) on the network's grid; see `resample_labels`."""
    cropped = np.ascontiguousarray(network_view(voxels[np.newaxis], geometry)[0])
    return resample_labels(cropped, geometry.resampled)


def network_view(voxels: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Return a view (C, D, H, W) of the crop of an array (C, i, j, k), on the scan's own grid.

    The view shares the array's memory, so it can be written to.
    """
    return _orient(voxels, geometry.orientation)[(slice(None), *_slices(geometry))]


def on_the_grid(box: Region, geometry: Geometry) -> Region:
    """Return the box of the network's grid that covers a box of the scan (D, H, W) and a voxel around it."""
    start, stop = [], []
    for axis, size in enumerate(geometry.resampled):
        scale, first = size / geometry.cropped[axis], geometry.start[axis]
        low, high = (box.start[axis] - first - 1) * scale, (box.stop[axis] - first + 1) * scale
        start.append(min(size, max(0, math.floor(low))))
        stop.append(max(start[-1], min(size, math.ceil(high))))
    return Region(as_size(start), as_size(stop))


def part_of_grid(part: Region, geometry: Geometry) -> Region:
    """Return a part of the crop as a box of the network's grid, as long as if it were resampled by itself."""
    start, stop = [], []
    for axis, size in enumerate(geometry.resampled):
        scale = size / geometry.cropped[axis]
        length = min(size, max(1, round(part.size[axis] * scale)))
        first = round((part.start[axis] - geometry.start[axis]) * scale)
        start.append(min(max(0, first), size - length))
        stop.append(start[-1] + length)
    return Region(as_size(start), as_size(stop))


def network_voxels(voxels: NDArray[np.intp], geometry: Geometry) -> NDArray[np.intp]:
    """Return voxel indices (N, 3) of the file (i, j, k) as (D, H, W), counted from the crop's first voxel."""
    transform = nib.orientations.ornt_transform(np.asarray(geometry.orientation), _CANONICAL)
    found = np.empty_like(voxels)
    for own, (axis, flip) in enumerate(transform.astype(int)):
        place = voxels[:, own] if flip == 1 else geometry.full[axis] - 1 - voxels[:, own]
        found[:, axis] = place - geometry.start[axis]
    return found


def _orient(voxels: NDArray[Any], orientation: Any) -> NDArray[Any]:
    transform = nib.orientations.ornt_transform(np.asarray(orientation), _CANONICAL)
    channels_last = np.moveaxis(voxels, 0, -1)
    return np.moveaxis(nib.orientations.apply_orientation(channels_last, transform), -1, 0)


def _slices(geometry: Geometry) -> tuple[slice, ...]:
    return tuple(slice(low, high) for low, high in zip(geometry.start, geometry.stop, strict=True))
