"""A folder with one DICOM series -> header and voxels, through SimpleITK.

Where each slice lies is read from the slice itself: a missing slice or two volumes in one series are
named, and a tilted gantry becomes a sheared affine, which ITK's own geometry cannot express.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.errors import InputError
from app.io.header import Header, make_header
from app.io.itk import affine_from, file_order

_MAGIC, _PREAMBLE_BYTES = b"DICM", 128
_UNEVEN = 0.05  # of the slice distance: rounding of positions in the files stays far below, a lost slice is 1


@dataclass(frozen=True)
class _Slices:
    """The files of a series in the order of their positions, and the affine they span."""

    files: tuple[str, ...]
    size: tuple[int, int]
    affine: NDArray[np.float64]


def is_dicom_folder(path: Path) -> bool:
    """Whether a folder directly holds DICOM files."""
    return path.is_dir() and any(_is_dicom(file) for file in sorted(path.iterdir()) if file.is_file())


def read_header(folder: Path) -> Header:
    """Read the headers of all slices.

    Raises:
        InputError: not exactly one series, slices of different kinds, unevenly spaced or doubled.
    """
    slices = _slices(folder)
    return make_header(
        folder,
        (*slices.size, len(slices.files)),
        affine=slices.affine,
        dtype=np.dtype(np.float32),
        stored_bytes=2 * sum(Path(file).stat().st_size for file in slices.files),  # 16 bits become 32
    )


def read_voxels(folder: Path) -> NDArray[np.generic]:
    """Voxels (i, j, k), float32: every slice has its own scale in the file (PET).

    Raises:
        InputError: as `read_header`, or a damaged slice.
    """
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(_slices(folder).files)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return file_order(reader.Execute())
    except RuntimeError as error:
        raise InputError(f"{folder}: cannot be read ({str(error).strip().splitlines()[-1]})") from None


def slice_files(folder: Path) -> tuple[str, ...]:
    """The files of a series in the order of the voxels' last axis."""
    return _slices(folder).files


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(_PREAMBLE_BYTES + len(_MAGIC)).endswith(_MAGIC)


def _slices(folder: Path) -> _Slices:
    read = [_read_slice(file) for file in _files_of_one_series(folder)]
    first = read[0]
    for reader in read:
        same_grid = np.allclose(reader.GetDirection(), first.GetDirection(), atol=1e-4)
        if reader.GetSize() != first.GetSize() or not same_grid:
            raise InputError(f"{folder}: {reader.GetFileName()}: got another size or direction than the rest")
    normal = np.array(first.GetDirection()).reshape(3, 3)[:, 2]
    read.sort(key=lambda reader: float(normal @ reader.GetOrigin()))
    affine = affine_from(read[0].GetDirection(), read[0].GetSpacing(), read[0].GetOrigin())
    if len(read) > 1:
        positions = np.array([reader.GetOrigin() for reader in read])
        affine[:3, 2] = _step(folder, positions) * (-1, -1, 1)  # LPS to RAS
    return _Slices(tuple(reader.GetFileName() for reader in read), first.GetSize()[:2], affine)


def _files_of_one_series(folder: Path) -> Sequence[str]:
    found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(found) != 1:
        listed = f": {', '.join(found[:3])}" if found else ""
        raise InputError(f"{folder}: got {len(found)} DICOM series{listed}, wanted one a folder")
    files: Sequence[str] = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), found[0])
    return files


def _read_slice(file: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{file}: cannot be read ({str(error).strip().splitlines()[-1]})") from None
    if len(reader.GetSize()) != 3 or reader.GetSize()[2] != 1 or reader.GetNumberOfComponents() != 1:
        raise InputError(f"{file}: got size {reader.GetSize()}, wanted one grey slice a file")
    return reader


def _step(folder: Path, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Millimetres from one slice to the next, LPS."""
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    gaps = np.diff(positions, axis=0)
    apart = np.linalg.norm(gaps - step, axis=1) / max(float(np.linalg.norm(step)), 1e-9)
    worst = int(apart.argmax())
    if apart[worst] > _UNEVEN:
        distances = np.linalg.norm(gaps, axis=1)
        raise InputError(
            f"{folder}: got {distances[worst]:.3g} mm between slices {worst + 1} and {worst + 2} and "
            f"{np.median(distances):.3g} mm as a rule; is a slice missing, or are there two volumes?"
        )
    return np.asarray(step)
