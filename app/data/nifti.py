"""NIfTI files through nibabel: header, voxels, and label maps in a scan's own geometry."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from app.core.errors import InputError
from app.data.header import Header, make_header

SUFFIXES = (".nii.gz", ".nii")

_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "sform_code", "srow_x", "srow_y", "srow_z"),
)


def read_header(path: Path) -> Header:
    """Read the header alone.

    Raises:
        InputError: no NIfTI, or a header that cannot be true.
    """
    with _faults_named(path):
        image = nib.load(path)
        affine = np.asarray(image.affine, dtype=np.float64)
        shape, dtype = tuple(int(n) for n in image.shape), image.get_data_dtype()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return make_header(path, shape, affine=affine, dtype=dtype, stored_bytes=path.stat().st_size)


def read_voxels(path: Path) -> NDArray[np.generic]:
    """Voxels (i, j, k) or (i, j, k, channels), as stored or, where the file scales them, float32."""
    with _faults_named(path):
        stored = nib.load(path).dataobj
        scaled = (stored.slope, stored.inter) != (1, 0)
        voxels = stored.get_scaled(np.float32) if scaled else np.asanyarray(stored)
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    result: NDArray[np.generic] = voxels
    return result


def geometry_of(path: Path) -> nib.Nifti1Header:
    """A fresh header with exactly the geometry of a file: both affines, their codes and the units."""
    source = nib.Nifti1Header.from_header(nib.load(path).header, check=False)
    header = nib.Nifti1Header()
    for field in _GEOMETRY:
        header[field] = source[field]
    return header


def geometry_from(affine: NDArray[np.float64]) -> nib.Nifti1Header:
    """A fresh header of an affine to RAS millimetres in scanner coordinates."""
    image = nib.Nifti1Image(np.zeros((1, 1, 1), dtype=np.uint8), affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    return image.header


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Turn what nibabel and the file layers raise on bad bytes into one clear line."""
    faults = (ImageFileError, HeaderDataError, EOFError, OSError, ValueError, OverflowError, zlib.error)
    try:
        yield
    except faults as error:
        raise InputError(f"{path}: cannot be read as NIfTI, is it truncated? ({error})") from None
