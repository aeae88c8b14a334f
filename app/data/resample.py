"""Volumes onto a grid of another size that covers the same extent: voxel edges meet at the ends."""

import math

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from app.core.types import Size

_SLAB_VOXELS = 2**23  # voxels resampled at once: their spline coefficients take 64 MB
_REACH = 16  # slices after which a cubic spline has forgotten a voxel: its pole 0.268 to that power is 1e-9


def resample_image(image: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """(C, D, H, W) -> a new array (C, *size) by cubic B-splines, channel by channel, slab by slab."""
    if image.shape[1:] == size:
        return np.array(image, order="C")
    result = np.empty((image.shape[0], *size), dtype=np.float32)
    slices = max(1, _SLAB_VOXELS // max(math.prod(size[1:]), math.prod(image.shape[2:])))
    for channel, resampled in zip(image, result, strict=True):
        for first in range(0, size[0], slices):
            resampled[first : first + slices] = _spline(channel, size, first, min(first + slices, size[0]))
    return result


def resample_labels(labels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(D, H, W) -> size: each label's mask is resampled linearly, the largest share wins, ties the lower."""
    if labels.shape == size:
        return labels
    result = torch.zeros(size, dtype=torch.uint8)
    largest = torch.full(size, -1.0)
    for label in np.unique(labels):
        share = _linear(torch.from_numpy(labels == label).float()[None], size)[0]
        wins = share > largest
        result[wins] = int(label)
        largest = torch.maximum(largest, share)
    return np.asarray(result.numpy())


def _linear(channels: torch.Tensor, size: Size) -> torch.Tensor:
    if channels.shape[1:] == size:
        return channels
    return F.interpolate(channels[None], size=size, mode="trilinear", align_corners=False)[0]


def _spline(channel: NDArray[np.float32], size: Size, first: int, stop: int) -> NDArray[np.float32]:
    """Slices first to stop of the channel on its new grid, from the slices of the old one around them."""
    scale = [old / new for old, new in zip(channel.shape, size, strict=True)]
    begin, end = ((place + 0.5) * scale[0] - 0.5 for place in (first, stop - 1))
    low, high = max(math.floor(begin) - _REACH, 0), min(math.ceil(end) + _REACH + 1, channel.shape[0])
    source = sitk.GetImageFromArray(np.ascontiguousarray(channel[low:high]))  # (x, y, z) = (W, H, D)
    grid = sitk.ResampleImageFilter()
    grid.SetSize([size[2], size[1], stop - first])
    grid.SetOutputSpacing(list(reversed(scale)))
    grid.SetOutputOrigin([(scale[2] - 1) / 2, (scale[1] - 1) / 2, begin - low])
    grid.SetInterpolator(sitk.sitkBSpline)
    resampled: NDArray[np.float32] = sitk.GetArrayFromImage(grid.Execute(source))
    return resampled
