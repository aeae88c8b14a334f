"""Scans and label maps, from files and back: NIfTI through nibabel, every fault of a file named."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.files import atomic_path
from app.core.types import Spacing, as_spacing

SUFFIXES = (".nii.gz", ".nii")

_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "sform_code", "srow_x", "srow_y", "srow_z"),
)


@dataclass(frozen=True)
class _OnGrid:
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> Spacing:
        """Millimetres along (i, j, k)."""
        return as_spacing(np.linalg.norm(self.affine[:3, :3], axis=0).tolist())


@dataclass(frozen=True)
class Volume(_OnGrid):
    """Voxels (C, i, j, k) in the file's own axis order and the affine from (i, j, k) to RAS millimetres."""

    voxels: NDArray[np.float32]


@dataclass(frozen=True)
class LabelMap(_OnGrid):
    """Label values (i, j, k) and the affine from (i, j, k) to RAS millimetres."""

    voxels: NDArray[np.uint8]


def case_name(path: Path) -> str:
    """The file name without its NIfTI suffix."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    raise InputError(f"{path}: got suffix {path.suffix!r}, wanted one of {', '.join(SUFFIXES)}")


def read_volume(path: Path) -> Volume:
    """Read a scan of one channel (i, j, k) or several (i, j, k, C).

    Raises:
        InputError: missing, unreadable or truncated file, wrong dimensions, NaN or infinite voxels,
            an affine that cannot be inverted.
    """
    voxels, affine = _read(path)
    if voxels.ndim == 3:
        voxels = voxels[..., np.newaxis]
    if voxels.ndim != 4 or 0 in voxels.shape:
        raise InputError(f"{path}: got shape {voxels.shape}, wanted (i, j, k) or (i, j, k, channels)")
    channels_first = np.ascontiguousarray(np.moveaxis(voxels, -1, 0), dtype=np.float32)
    if not np.isfinite(channels_first).all():
        bad = int(channels_first.size - np.isfinite(channels_first).sum())
        raise InputError(f"{path}: got {bad} NaN or infinite voxels, wanted finite intensities")
    return Volume(affine, channels_first)


def read_label_map(path: Path, label_count: int) -> LabelMap:
    """Read a label map whose values are the integers 0 .. label_count - 1, of any stored type.

    Raises:
        InputError: as `read_volume`, or a value that is no such integer.
    """
    voxels, affine = _read(path)
    if voxels.ndim == 4 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise InputError(f"{path}: got shape {voxels.shape}, wanted a label map (i, j, k)")
    unknown = sorted(set(np.unique(voxels).tolist()) - set(range(label_count)))
    if unknown:
        raise InputError(f"{path}: got label values {unknown[:5]}, wanted integers 0 to {label_count - 1}")
    return LabelMap(affine, np.ascontiguousarray(voxels, dtype=np.uint8))


def write_label_map(path: Path, voxels: NDArray[np.uint8], like: Path) -> None:
    """Write label values (i, j, k) atomically as 8-bit NIfTI with exactly the geometry of the scan `like`."""
    source = nib.Nifti1Header.from_header(nib.load(like).header, check=False)
    header = nib.Nifti1Header()
    for field in _GEOMETRY:
        header[field] = source[field]
    header.set_data_dtype(np.uint8)
    with atomic_path(path) as temporary:
        nib.save(nib.Nifti1Image(voxels, None, header), temporary)


def _read(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    case_name(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        image = nib.load(path)
        voxels = np.asanyarray(image.dataobj)
    except (ImageFileError, EOFError, OSError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as NIfTI, is it truncated? ({error})") from None
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path}: got a singular affine {affine.tolist()}, wanted one that can be inverted")
    return voxels, affine
