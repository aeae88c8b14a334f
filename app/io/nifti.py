"""NIfTI files through nibabel: header, voxels, and label maps in a scan's own geometry."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.types import as_size
from app.io.grid import corners_apart_mm, is_sheared
from app.io.header import Header, make_header

SUFFIXES = (".nii.gz", ".nii")

_UNITS = {1: "metres", 3: "micrometres"}  # NIfTI-1; 2 is mm, 0 unknown
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
        with np.errstate(over="ignore"):  # infinity is found and named by whoever wants finite voxels
            voxels = np.asanyarray(stored, dtype=np.float32) if scaled else np.asanyarray(stored)
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    result: NDArray[np.generic] = voxels
    return result


def read_at(path: Path, voxels: NDArray[np.intp]) -> NDArray[np.float32]:
    """Values (N, channels) of a file (i, j, k, channels) at voxels (N, 3); one channel is read at a time.

    Raises:
        InputError: no NIfTI, not four axes, or a voxel beyond its shape.
    """
    with _faults_named(path):
        image = nib.load(path)
        if len(image.shape) != 4 or (len(voxels) and (voxels.max(axis=0) >= image.shape[:3]).any()):
            raise InputError(f"{path}: got shape {image.shape}, wanted (i, j, k, channels) of the label map")
        channels = [np.asarray(image.dataobj[..., c])[tuple(voxels.T)] for c in range(image.shape[3])]
    return np.stack(channels, axis=1).astype(np.float32)


def geometry_of(path: Path) -> nib.Nifti1Header:
    """A fresh header with exactly the geometry of a file: both affines, their codes and the units."""
    source = nib.Nifti1Header.from_header(nib.load(path).header, check=False)
    header = nib.Nifti1Header()
    for field in _GEOMETRY:
        header[field] = source[field]
    return header


def geometry_from(affine: NDArray[np.float64]) -> nib.Nifti1Header:
    """A fresh header of an affine to RAS millimetres in scanner coordinates.

    A qform cannot have axes that are not at right angles: for a tilted gantry it is marked as unknown, so
    that no reader takes it, and ITK refuses the file instead of displacing it.
    """
    image = nib.Nifti1Image(np.zeros((1, 1, 1), dtype=np.uint8), affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="unknown" if is_sheared(affine) else "scanner")
    image.header.set_xyzt_units("mm")
    return image.header


def doubts(path: Path) -> dict[str, str]:
    """What a header leaves open or says twice and differently: a sentence by kind of doubt."""
    header = _unmended(path)
    found = {
        "forms_disagree": _forms_disagree(header),
        "negative_spacing": _negative_spacing(header),
        "no_orientation": _no_orientation(header),
        "not_millimetres": _not_millimetres(header),
    }
    return {kind: sentence for kind, sentence in found.items() if sentence}


def _unmended(path: Path) -> nib.Nifti1Header:
    """The header as the file has it; nibabel mends some of it when it loads an image."""
    with ImageOpener(path) as stream:
        return type(nib.load(path).header).from_fileobj(stream, check=False)


def _forms_disagree(header: nib.Nifti1Header) -> str:
    try:
        qform, sform = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    except (HeaderDataError, ValueError) as error:
        return f"the qform cannot be computed ({error})"
    if qform is None or sform is None:
        return ""
    shape = as_size((*header.get_data_shape(), 1, 1, 1)[:3])
    apart_mm = corners_apart_mm(shape, qform, sform)
    tolerance_mm = 0.1 * float(np.linalg.norm(sform[:3, :3], axis=0).min())
    return f"qform and sform are up to {apart_mm:.3g} mm apart" if apart_mm > tolerance_mm else ""


def _negative_spacing(header: nib.Nifti1Header) -> str:
    spacing = header["pixdim"][1:4].tolist()
    return f"got voxel sizes {spacing}" if min(spacing) <= 0 else ""


def _no_orientation(header: nib.Nifti1Header) -> str:
    coded = int(header["qform_code"]) or int(header["sform_code"])
    return "" if coded else "neither qform nor sform is set"


def _not_millimetres(header: nib.Nifti1Header) -> str:
    code = int(header["xyzt_units"]) & 0b111  # the rest is of time
    return "" if code in (0, 2) else f"got lengths in {_UNITS.get(code, f'unit number {code}')}"


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Turn what nibabel and the file layers raise on bad bytes into one clear line."""
    faults = (ImageFileError, HeaderDataError, EOFError, OSError, ValueError, OverflowError, zlib.error)
    try:
        yield
    except faults as error:
        told = " ".join(str(error).split())  # some of these messages have several lines
        raise InputError(f"{path}: cannot be read as NIfTI, is it truncated? ({told})") from None
