"""Resampling of volumes to another size; the outer voxel edges of both grids coincide."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.core.types import Labels, Size
from app.data.prepare.label_vote import Ends, settle_mixed, uniform_cells

_LABEL_SLAB = 2**22  # voxels of a label map resampled at once
_SLAB_VOXELS = 2**23  # voxels of an image resampled at once; their spline coefficients take 64 MB
# Slices beyond which a voxel no longer affects a cubic spline: its pole, 0.268, to this power is 1e-9.
_REACH = 16


Change = Callable[[NDArray[np.float32]], None]
"""A function that changes the voxels of a channel, or a part of it, in place."""


def resample_image(
    image: NDArray[np.float32], size: Size, changes: Sequence[Change] = ()
) -> NDArray[np.float32]:
    """Return an image (C, D, H, W) as a new array (C, *size), resampled by cubic B-splines.

    Each channel's change in `changes` is applied to copies of its slabs before they are resampled; `image`
    itself does not change.
    """
    each = changes or [_unchanged] * len(image)
    if image.shape[1:] == size:
        result = np.array(image, order="C")
        for channel, change in zip(result, each, strict=True):
            change(channel)
        return result
    result = np.empty((len(image), *size), dtype=np.float32)
    slices = max(1, _SLAB_VOXELS // max(math.prod(size[1:]), math.prod(image.shape[2:])))
    for channel, resampled, change in zip(image, result, each, strict=True):
        for first in range(0, size[0], slices):
            slab = range(first, min(first + slices, size[0]))
            resampled[first : first + slices] = _spline(channel, size, slab, change)
    return result


def resample_labels(labels: Labels, size: Size) -> Labels:
    """Return labels (D, H, W) resampled to `size`.

    A voxel gets the label whose mask, resampled linearly, is largest there; ties go to the lower label.
    """
    if labels.shape == size:
        return labels
    lines = [_line(old, new) for old, new in zip(labels.shape, size, strict=True)]
    slices = max(1, _LABEL_SLAB // math.prod(size[1:]))
    slabs = [slice(first, min(first + slices, size[0])) for first in range(0, size[0], slices)]
    return np.concatenate([_label_slab(labels, lines, slab) for slab in slabs])


def _unchanged(voxels: NDArray[np.float32]) -> None:
    """Leave the voxels as they are."""


def _spline(channel: NDArray[np.float32], size: Size, slab: range, change: Change) -> NDArray[np.float32]:
    """Return the slices `slab` of the channel on its new grid, computed from the old slices around them."""
    scale = [old / new for old, new in zip(channel.shape, size, strict=True)]
    begin, end = ((place + 0.5) * scale[0] - 0.5 for place in (slab[0], slab[-1]))
    low, high = max(math.floor(begin) - _REACH, 0), min(math.ceil(end) + _REACH + 1, channel.shape[0])
    around = np.array(channel[low:high], order="C")
    change(around)
    source = sitk.GetImageFromArray(around)  # (x, y, z) = (W, H, D)
    grid = sitk.ResampleImageFilter()
    grid.SetSize([size[2], size[1], len(slab)])
    grid.SetOutputSpacing(list(reversed(scale)))
    grid.SetOutputOrigin([(scale[2] - 1) / 2, (scale[1] - 1) / 2, begin - low])
    grid.SetInterpolator(sitk.sitkBSpline)
    resampled: NDArray[np.float32] = sitk.GetArrayFromImage(grid.Execute(source))
    return resampled


def _line(old: int, new: int) -> tuple[Tensor, Tensor]:
    """Return, per voxel of a new axis, the old voxel before it and its distance from that, from 0 to 1."""
    place = ((torch.arange(new, dtype=torch.float64) + 0.5) * (old / new) - 0.5).clamp_(0, old - 1)
    low = place.long()
    return low, (place - low).float()


def _label_slab(labels: Labels, lines: Sequence[tuple[Tensor, Tensor]], slab: slice) -> Labels:
    """Return the slices `slab` of the label map on its new grid."""
    low = [lines[0][0][slab], lines[1][0], lines[2][0]]
    ends = [lines[0][1][slab], lines[1][1], lines[2][1]]
    first, last = int(low[0][0]), int(low[0][-1]) + 1
    around = np.pad(labels[first : last + 1], ((0, int(last == len(labels))), (0, 1), (0, 1)), mode="edge")
    voxels = torch.from_numpy(around)
    low[0] = low[0] - first
    points = uniform_cells(voxels)
    for axis, places in enumerate(low):
        points = points.index_select(axis, places)

    def between(chosen: Tensor) -> tuple[Tensor, Ends]:
        at = torch.unravel_index(chosen, points.shape)
        depth, height, width = (places[index] for places, index in zip(low, at, strict=True))
        place = (depth * voxels.shape[1] + height) * voxels.shape[2] + width
        return place, (ends[0][at[0]], ends[1][at[1]], ends[2][at[2]])

    return np.asarray(settle_mixed(points, voxels, between).numpy())
