"""NRRD and MetaImage files through SimpleITK, their voxels in the file itself or in one beside it."""

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.errors import InputError
from app.io.header import Header, make_header
from app.io.suffixes import suffix_of

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # of fields that concern nobody; errors are raised

_NRRD, _META = "NrrdImageIO", "MetaImageIO"
_KINDS = {".nrrd": _NRRD, ".nhdr": _NRRD, ".mha": _META, ".mhd": _META}
_ELSEWHERE = {  # the field that names another file to read voxels from
    _NRRD: re.compile(rb"^data ?file:[ \t]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE),
    _META: re.compile(rb"^ElementDataFile[ \t]*+=[ \t]*+(?!LOCAL)([^\r\n]*)", re.MULTILINE),
}
_HEADER_BYTES = 65_536
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_header(path: Path) -> Header:
    """Read the header alone.

    Raises:
        InputError: not of its suffix's format, or a header that cannot be true.
    """
    files = files_of(path)
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read ({_last_line(error)})") from None
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
        stored_bytes=sum(file.stat().st_size for file in files),
    )


def read_voxels(path: Path) -> NDArray[np.generic]:
    """Voxels (i, j, k) or (i, j, k, channels), as stored.

    Raises:
        InputError: truncated or damaged.
    """
    try:
        image = _reader(path).Execute()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read, is it truncated? ({_last_line(error)})") from None
    return file_order(image)


def files_of(path: Path) -> tuple[Path, ...]:
    """The file, and the one beside it that has its voxels.

    Raises:
        InputError: voxels in a file that is missing, or anywhere but in the same folder.
    """
    with path.open("rb") as stream:
        start = stream.read(_HEADER_BYTES).split(b"\n\n")[0]
    elsewhere = _ELSEWHERE[_KINDS[suffix_of(path)]].search(start)
    if elsewhere is None:
        return (path,)
    name = elsewhere.group(1).decode("utf-8", "replace").strip()
    beside = path.with_name(name) if name and Path(name).name == name and "\\" not in name else None
    if beside is None or suffix_of(path) in (".nrrd", ".mha"):  # no business of a data set's header
        where = "in the file itself, or for .mhd and .nhdr in one beside it"
        raise InputError(f"{path}: its voxels are in {name!r}, wanted them {where}")
    if not beside.is_file():
        raise InputError(f"{path}: got no {name!r} beside it, which has its voxels")
    return path, beside


def write_voxels(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Write (i, j, k) or (i, j, k, K), compressed, and their affine to RAS millimetres."""
    sitk.WriteImage(as_itk(voxels, affine), str(path), useCompression=True)


def as_itk(voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> sitk.Image:
    """An image of voxels (i, j, k) or (i, j, k, channels) whose axes are orthogonal."""
    image = sitk.GetImageFromArray(np.moveaxis(voxels, (0, 1, 2), (2, 1, 0)), isVector=voxels.ndim == 4)
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def file_order(image: sitk.Image) -> NDArray[np.generic]:
    """An image's voxels as (i, j, k) or (i, j, k, channels)."""
    voxels = sitk.GetArrayFromImage(image)  # (k, j, i) or (t, k, j, i), then components
    axes = tuple(reversed(range(image.GetDimension())))
    result: NDArray[np.generic] = voxels.transpose((*axes, *range(len(axes), voxels.ndim)))
    return result


def affine_from(
    direction: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...]
) -> NDArray[np.float64]:
    """ITK's geometry (LPS, of three or more axes) as an affine from (i, j, k) to RAS millimetres."""
    axes = np.array(direction).reshape(len(spacing), len(spacing))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing[:3])
    affine[:3, 3] = origin[:3]
    return np.asarray(LPS_TO_RAS @ affine)


def _reader(path: Path) -> sitk.ImageFileReader:
    """A reader by suffix, as ITK knows some in small letters only."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_KINDS[suffix_of(path)])
    reader.SetFileName(str(path))
    return reader


def _components(reader: sitk.ImageFileReader) -> int:
    """Components of a vector image; SimpleITK wants 0 for a scalar one."""
    count = int(reader.GetNumberOfComponents())
    return count if count > 1 else 0


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
