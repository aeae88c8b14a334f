"""A scan written as a DICOM series, a slice a file, as a scanner would."""

import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.io.itk import as_itk


def write_series(folder: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]) -> Path:
    """Voxels (i, j, k) and their affine to RAS millimetres; slices are numbered against their position."""
    folder.mkdir(parents=True)
    image = as_itk(voxels, affine)
    series = "1.2.826.0.1.3680043.2.1125.1." + str(zlib.crc32(str(folder).encode()))
    axes = np.array(image.GetDirection()).reshape(3, 3)
    for k in range(voxels.shape[2]):
        cut = sitk.GetImageFromArray(voxels[:, :, k].T)
        cut.SetSpacing(image.GetSpacing()[:2])
        position = image.TransformIndexToPhysicalPoint((0, 0, k))
        tags = {
            "0008|0060": "CT",
            "0020|000e": series,
            "0020|000d": series + ".1",
            "0020|0052": series + ".2",
            "0020|0032": "\\".join(f"{value:.10g}" for value in position),
            "0020|0037": "\\".join(f"{value:.10g}" for value in (*axes[:, 0], *axes[:, 1])),
            "0020|0013": str(voxels.shape[2] - k),
            "0018|0050": f"{image.GetSpacing()[2]:.6g}",
        }
        for tag, value in tags.items():
            cut.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"slice_{(k * 7) % voxels.shape[2]:03d}_{k}.dcm"))
        writer.Execute(cut)
    return folder
