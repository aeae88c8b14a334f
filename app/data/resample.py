"""Volumes onto a grid of another size that covers the same extent: voxel edges meet at the ends."""

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from app.core.types import Size


def resample_image(image: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """(C, D, H, W) -> (C, *size) by cubic B-splines, channel by channel."""
    if image.shape[1:] == size:
        return image
    return np.stack([_spline(channel, size) for channel in image])


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


def resample_logits(logits: torch.Tensor, size: Size) -> torch.Tensor:
    """(L, D, H, W) -> label map `size`, uint8: the label with the largest linearly resampled logit.

    One label at a time, so that memory holds two volumes of the new size and not L.
    """
    largest = _linear(logits[:1], size)[0]
    result = torch.zeros(size, dtype=torch.uint8)
    for label in range(1, logits.shape[0]):
        resampled = _linear(logits[label : label + 1], size)[0]
        result[resampled > largest] = label
        largest = torch.maximum(largest, resampled)
    return result


def _linear(channels: torch.Tensor, size: Size) -> torch.Tensor:
    if channels.shape[1:] == size:
        return channels
    return F.interpolate(channels[None], size=size, mode="trilinear", align_corners=False)[0]


def _spline(channel: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    source = sitk.GetImageFromArray(channel)  # SimpleITK's axes run (x, y, z) = (W, H, D)
    scale = [old / new for old, new in zip(channel.shape, size, strict=True)]
    grid = sitk.ResampleImageFilter()
    grid.SetSize(list(reversed(size)))
    grid.SetOutputSpacing(list(reversed(scale)))
    grid.SetOutputOrigin([(step - 1) / 2 for step in reversed(scale)])
    grid.SetInterpolator(sitk.sitkBSpline)
    resampled: NDArray[np.float32] = sitk.GetArrayFromImage(grid.Execute(source))
    return resampled
