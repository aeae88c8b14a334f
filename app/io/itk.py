"""NRRD and MetaImage files, read with SimpleITK; voxels are in the same file or in a second one."""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.errors import InputError
from app.io.faults import last_line
from app.io.header import Header, make_header
from app.io.packed import refuse_damaged
from app.io.suffixes import suffix_of
from app.io.text_header import TextHeader, read_text_header

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # warnings concern unused fields; errors are still raised

_NRRD, _META = "NrrdImageIO", "MetaImageIO"
_KINDS = {".nrrd": _NRRD, ".nhdr": _NRRD, ".mha": _META, ".mhd": _META}
_NO_TURN = 1e-15  # cosines below are set to 0
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_header(path: Path) -> Header:
    """Return the header, without reading voxels.

    Raises:
        InputError: the file is not in the format of its suffix, or the header is invalid.
    """
    stored = read_text_header(path)
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read ({last_line(error)})") from None
    if reader.GetDimension() not in (3, 4):
        raise InputError(
            f"{path}: got {reader.GetDimension()} dimensions, wanted (i, j, k) or (i, j, k, channels)"
        )
    one_voxel = file_order(sitk.Image([1] * reader.GetDimension(), reader.GetPixelID(), _components(reader)))
    size = tuple(int(n) for n in reader.GetSize())
    return make_header(
        path,
        (*size, *one_voxel.shape[len(size) :]),
        affine=affine_from(reader.GetDirection(), reader.GetSpacing(), reader.GetOrigin()),
        dtype=one_voxel.dtype,
        stored_bytes=stored.voxels.stat().st_size - stored.start,
        packed=not stored.raw,
    )


def read_voxels(path: Path) -> NDArray[np.generic]:
    """Return voxels (i, j, k) or (i, j, k, channels), as stored.

    Raises:
        InputError: as in `read_header`, or voxels are damaged or missing at the end.
    """
    stored = read_text_header(path)
    if stored.zipped:
        header = read_header(path)
        wanted = math.prod(header.size) * header.channels * header.dtype.itemsize
        packed = refuse_damaged(path, stored.voxels, wanted, start=stored.start)
        if stored.packed_bytes not in (None, packed):
            raise InputError(
                f"{path}: CompressedDataSize: got {stored.packed_bytes}, its voxels take {packed} bytes"
            )
    if not stored.zipped and not stored.raw and _KINDS[suffix_of(path)] == _META:
        _refuse_other_text(path, stored)
    try:
        image = _reader(path).Execute()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read, is it cut short? ({last_line(error)})") from None
    return file_order(image)


def _refuse_other_text(path: Path, stored: TextHeader) -> None:
    """Check voxels that are stored as text; ITK returns undefined voxels where numbers are missing."""
    header = read_header(path)
    wanted = math.prod(header.size) * header.channels
    text = stored.voxels.read_bytes()[stored.start :]
    words = text.split()
    try:
        told = f"{len(list(map(float, words[:wanted])))} numbers"
    except ValueError:
        told = "other text than numbers"
    if len(words) == wanted and not text[-1:].isspace():  # ITK reads no number at the very end of a file
        told = "no line end after the last number"
    if told != f"{wanted} numbers":
        raise InputError(
            f"{path}: got {told} in place of {wanted} voxels (BinaryData = False); is it damaged?"
        )


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the file and, if its voxels are in a second file, that file too.

    Raises:
        InputError: the header is not in the format of the suffix, or the voxel file is missing or in another
            folder.
    """
    voxels = read_text_header(path).voxels
    return (path,) if voxels == path else (path, voxels)


def write_voxels(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Write voxels (i, j, k) or (i, j, k, K), compressed, with their affine to RAS millimetres."""
    sitk.WriteImage(as_itk(voxels, affine), str(path), useCompression=True)


def as_itk(voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> sitk.Image:
    """Return an image of voxels (i, j, k) or (i, j, k, channels); a sheared affine gives skew directions."""
    image = sitk.GetImageFromArray(np.moveaxis(voxels, (0, 1, 2), (2, 1, 0)), isVector=voxels.ndim == 4)
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / spacing
    axes[np.abs(axes) < _NO_TURN] = 0  # ITK prints warnings for tiny non-zero cosines
    image.SetSpacing(spacing.tolist())
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def file_order(image: sitk.Image) -> NDArray[np.generic]:
    """Return an image's voxels as (i, j, k) or (i, j, k, channels)."""
    voxels = sitk.GetArrayFromImage(image)  # (k, j, i) or (t, k, j, i), then components
    axes = tuple(reversed(range(image.GetDimension())))
    result: NDArray[np.generic] = voxels.transpose((*axes, *range(len(axes), voxels.ndim)))
    return result


def affine_from(
    direction: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return ITK's geometry (LPS, three or more axes) as an affine from (i, j, k) to RAS millimetres.

    Values of a damaged header that overflow are infinite or NaN in it.
    """
    axes = np.array(direction).reshape(len(spacing), len(spacing))[:3, :3]
    affine = np.eye(4)
    affine[:3, 3] = origin[:3]
    with np.errstate(all="ignore"):
        affine[:3, :3] = axes * np.array(spacing[:3])
        return np.asarray(LPS_TO_RAS @ affine)


def _reader(path: Path) -> sitk.ImageFileReader:
    """Return a reader for the suffix, chosen here because ITK recognises some suffixes in lower case only."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_KINDS[suffix_of(path)])
    reader.SetFileName(str(path))
    return reader


def _components(reader: sitk.ImageFileReader) -> int:
    """Return the components of a vector image; 0 for a scalar image, as SimpleITK expects."""
    count = int(reader.GetNumberOfComponents())
    return count if count > 1 else 0
