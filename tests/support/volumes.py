"""Small scans and label maps, written to disk the way users have them."""

import itertools
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.types import Spacing
from app.io.itk import as_itk

MakeTask = Callable[..., Path]


REAL_DATA = Path(os.environ.get("CAKESEG_DATA", Path(__file__).parents[3] / "shared" / "data"))


def draw_blob(
    shape: tuple[int, int, int], channels: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """An image (i, j, k) or (i, j, k, C) and its label map."""
    rng = np.random.default_rng(seed)
    centre = [rng.uniform(0.4, 0.6) * n for n in shape]
    grid = np.meshgrid(*map(np.arange, shape), indexing="ij")
    distance = sum(((axis - middle) / 5) ** 2 for axis, middle in zip(grid, centre, strict=True))
    label = (distance < 1).astype(np.uint8)
    image = 100 * label[..., None] + rng.normal(50, 20, (*shape, channels))
    return (image if channels > 1 else image[..., 0]).astype(np.float32), label


def write_blobs(
    root: Path,
    *,
    cases: int = 5,
    shape: tuple[int, int, int] = (19, 22, 17),
    channels: int = 1,
    affine: NDArray[np.float64] | None = None,
    modality: str = "MRI",
    name: str = "Task90_Blobs",
) -> Path:
    """Write a Decathlon folder of blobs brighter than their noisy surroundings."""
    folder = root / name
    entries = []
    for number in range(1, cases + 1):
        image, label = draw_blob(shape, channels, seed=number)
        entry = {kind: f"./{kind}sTr/blob_{number:03d}.nii.gz" for kind in ("image", "label")}
        for kind, voxels in (("image", image), ("label", label)):
            path = folder / entry[kind]
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
        entries.append(entry)
    facts = {
        "modality": {str(channel): modality for channel in range(channels)},
        "labels": {"0": "background", "1": "blob"},
        "training": entries,
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


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


ORIENTATIONS = [
    "".join(signs)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for signs in itertools.product(*axes)
]


def in_orientation(
    canonical: NDArray[np.float32], spacing: Spacing, codes: str
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A canonical (D, H, W) = (S, A, R) volume as a file of another orientation would hold it."""
    sar = nib.orientations.axcodes2ornt(("S", "A", "R"))
    to_ras = np.array([[0, 0, spacing[2], 5], [0, spacing[1], 0, -7], [spacing[0], 0, 0, 11], [0, 0, 0, 1.0]])
    transform = nib.orientations.ornt_transform(sar, nib.orientations.axcodes2ornt(tuple(codes)))
    voxels = nib.orientations.apply_orientation(canonical, transform)
    return voxels, to_ras @ nib.orientations.inv_ornt_aff(transform, canonical.shape)
