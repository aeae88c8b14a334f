"""Conversion of NumPy arrays and SimpleITK images to volumes, and of label maps to SimpleITK images."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from app.core.errors import InputError
from app.core.types import Labels
from app.io.grid import is_invertible
from app.io.itk import affine_from, file_order
from app.io.volumes import Volume


def volume_from_array(voxels: NDArray[np.generic], affine: ArrayLike | None) -> Volume:
    """Return a volume of voxels (i, j, k) or (C, i, j, k) with an affine to RAS millimetres.

    Raises:
        InputError: the array has other dimensions or NaN or infinite voxels, or the affine is missing or
            cannot be inverted.
    """
    if affine is None:
        raise InputError("image: got an array alone, wanted affine=<4x4, voxels to RAS millimetres> with it")
    to_mm = np.asarray(affine, dtype=np.float64)
    if to_mm.shape != (4, 4) or not is_invertible(to_mm):
        raise InputError(f"affine: got {to_mm.tolist()}, wanted 4x4 that can be inverted")
    channels = np.asarray(voxels, dtype=np.float32)
    channels = channels[np.newaxis] if channels.ndim == 3 else channels
    if channels.ndim != 4 or 0 in channels.shape:
        raise InputError(f"image: got shape {np.shape(voxels)}, wanted (i, j, k) or (C, i, j, k)")
    if not np.isfinite(channels).all():
        raise InputError("image: got NaN or infinite voxels, wanted finite intensities")
    return Volume(to_mm, channels)


def volume_from_itk(image: sitk.Image) -> Volume:
    """Return a scalar or vector image of three dimensions, or a scalar image of four, as a volume.

    Raises:
        InputError: the image has other dimensions, or NaN or infinite voxels.
    """
    if image.GetDimension() not in (3, 4):
        raise InputError(
            f"image: got {image.GetDimension()} dimensions, wanted 3, or 4 with the channels last"
        )
    voxels = file_order(image)
    affine = affine_from(image.GetDirection(), image.GetSpacing(), image.GetOrigin())
    channels_first = np.moveaxis(voxels, -1, 0) if voxels.ndim == 4 else voxels
    return volume_from_array(channels_first, affine)


def labels_to_itk(labels: Labels, like: sitk.Image) -> sitk.Image:
    """Return label values (i, j, k) as an image with exactly the geometry of `like`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels.transpose(2, 1, 0)))
    image.CopyInformation(like if like.GetDimension() == 3 else like[:, :, :, 0])
    return image
