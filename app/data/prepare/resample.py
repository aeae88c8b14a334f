"""Volumes onto a grid of another size that covers the same extent: voxel edges meet at the ends."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from app.core.types import Size
from app.io.label_values import count_values

_LABEL_SLAB = 2**22  # voxels of a label map resampled at once: their shares take 16 MB a volume of them

_SLAB_VOXELS = 2**23  # voxels resampled at once: their spline coefficients take 64 MB
_REACH = 16  # slices after which a cubic spline has forgotten a voxel: its pole 0.268 to that power is 1e-9


Change = Callable[[NDArray[np.float32]], None]
"""What is done to the voxels of a channel, or a part of it, in place."""


def resample_image(
    image: NDArray[np.float32], size: Size, changes: Sequence[Change] = ()
) -> NDArray[np.float32]:
    """(C, D, H, W) -> a new array (C, *size) by cubic B-splines, channel by channel, slab by slab.

    A channel's change is made before it is resampled, to copies of its slabs; `image` stays as it is.
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


def resample_labels(labels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(D, H, W) -> size: each label's mask is resampled linearly, the largest share wins, ties the lower."""
    if labels.shape == size:
        return labels
    values = [int(value) for value in count_values(labels)]
    slices = max(1, _LABEL_SLAB // math.prod(size[1:]))
    slabs = [range(first, min(first + slices, size[0])) for first in range(0, size[0], slices)]
    return np.concatenate([_label_slab(labels, values, size, slab) for slab in slabs])


def _unchanged(voxels: NDArray[np.float32]) -> None:
    """The change that is none."""


def _spline(channel: NDArray[np.float32], size: Size, slab: range, change: Change) -> NDArray[np.float32]:
    """The slices `slab` of the channel on its new grid, from the slices of the old one around them."""
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


def _label_slab(labels: NDArray[np.uint8], values: list[int], size: Size, slab: range) -> NDArray[np.uint8]:
    """The slices `slab` of the label map on its new grid."""
    depth = labels.shape[0]
    place = ((torch.arange(slab.start, slab.stop) + 0.5) * (depth / size[0]) - 0.5).clamp_(min=0)
    low = place.long().clamp_(max=depth - 1)
    high = (low + 1).clamp_(max=depth - 1)
    weight, around = (place - low)[:, None, None], torch.from_numpy(labels[low[0] : high[-1] + 1])
    result = torch.zeros((len(slab), *size[1:]), dtype=torch.uint8)
    largest = torch.full(result.shape, -1.0)
    for value in values:
        mask = (around == value).float()
        lines = torch.lerp(mask[low - low[0]], mask[high - low[0]], weight)
        share = F.interpolate(lines[None], size=size[1:], mode="bilinear", align_corners=False)[0]
        result[share > largest] = value
        largest = torch.maximum(largest, share)
    return np.asarray(result.numpy())
