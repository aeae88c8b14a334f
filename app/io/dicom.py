"""Header and voxels of a DICOM series: the slices in a folder, or a multi-frame file.

Files need neither suffix nor preamble. The position of each slice is read from the slice itself. Errors name
odd, duplicate and missing slices. A tilted gantry gives a sheared affine, which ITK cannot express.
"""

import re
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.listed import listed
from app.io import dicom_frames
from app.io.decoding import decoding
from app.io.dicom_elements import with_elements
from app.io.dicom_files import DicomFile, Frame, is_dicom, other_object, read_file
from app.io.dicom_grid import Stack, stack
from app.io.faults import last_line
from app.io.header import Header, make_header
from app.io.itk import file_order
from app.io.links import leads_nowhere

_INVERTED = re.compile(
    rb"((?:\x28\x00\x04\x00(?:CS\x0c\x00|\x0c\x00\x00\x00)|\x00\x28\x00\x04CS\x00\x0c)MONOCHROME)1"
)


@dataclass(frozen=True)
class Series:
    """A DICOM series: its image files in a folder, or one multi-frame file."""

    where: Path
    files: tuple[DicomFile, ...]

    @property
    def description(self) -> str:
        """The series description, or the series number if there is none."""
        return self.files[0].description or f"series {self.files[0].number}"


def is_dicom_folder(path: Path) -> bool:
    """Return whether a folder directly holds DICOM images."""
    return path.is_dir() and any(True for _ in _image_files(path))


def list_series(path: Path) -> list[Series]:
    """Return the series directly in a folder, sorted by description; a single file is one series.

    Raises:
        InputError: an image file cannot be read or links to a missing file, or a single file is not an image.
    """
    if path.is_file() and other_object(path):
        raise InputError(f"{path}: got {other_object(path)}, wanted an image")
    files = [path] if path.is_file() else sorted(_image_files(path))
    _refuse_lost(path)
    by_uid: dict[str, list[DicomFile]] = {}
    for file in map(read_file, files):
        by_uid.setdefault(file.series, []).append(file)
    found = [Series(path, tuple(listed)) for listed in by_uid.values()]
    return sorted(found, key=lambda series: (series.description, series.files[0].number))


def read_header(path: Path) -> Header:
    """Return the header of the only series at `path`, from the headers of all its slices.

    Raises:
        InputError: there is not exactly one series, or slices differ in kind, are duplicate or missing, or
            have no position or size.
    """
    return header_of(only_series(path))


def read_voxels(path: Path) -> NDArray[np.generic]:
    """Return voxels (i, j, k) of the only series at `path`, float32, as slices can differ in scale (PET).

    Raises:
        InputError: as in `read_header`, or a slice is damaged.
    """
    return voxels_of(only_series(path))


def only_series(path: Path) -> Series:
    """Return the only series at `path`.

    Raises:
        InputError: there is none, or there are several.
    """
    found = list_series(path)
    if len(found) == 1:
        return found[0]
    listed = "; ".join(f"{series.description} ({len(series.files)} files)" for series in found)
    raise InputError(
        f"{path}: got {len(found)} DICOM series{': ' if listed else ''}{listed}, wanted one; "
        "separate them into folders, or choose by description with the option channels"
    )


def header_of(series: Series) -> Header:
    """Return the header of a series: size, affine and unevenness of its slices."""
    ordered = _stack(series)
    return make_header(
        series.where,
        (*ordered.frames[0].size, len(ordered.frames)),
        affine=ordered.affine,
        dtype=np.dtype(np.float32),
        stored_bytes=2 * sum(file.path.stat().st_size for file in series.files),  # 16 stored bits become 32
        uneven=ordered.uneven,
    )


def voxels_of(series: Series) -> NDArray[np.generic]:
    """Return voxels (i, j, k) of a series: stored values with slope and intercept applied.

    Settings for display only, such as MONOCHROME1, are ignored.
    """
    frames = _stack(series).frames
    if frames[0].index is not None:
        return dicom_frames.frame_voxels(frames)
    inverted = any(file.inverted for file in series.files)
    compressed = any(file.compressed for file in series.files)
    with tempfile.TemporaryDirectory() as folder:
        files = [frame.file for frame in frames]
        if inverted:
            files = [_as_stored(file, Path(folder, f"{k}.dcm")) for k, file in enumerate(files)]
        with decoding(series.where) if compressed else nullcontext():
            return _read_slices(series.where, files)


def frames_in_order(series: Series) -> tuple[Frame, ...]:
    """Return the slices of a series in the order of the voxels' last axis."""
    return _stack(series).frames


def _image_files(folder: Path) -> Iterable[Path]:
    files = (file for file in folder.iterdir() if file.name[0] != "." and file.is_file())
    return (file for file in files if is_dicom(file) and not other_object(file))


def _refuse_lost(folder: Path) -> None:
    """Refuse a folder with links to missing files, because slices may be among them."""
    if not folder.is_dir():
        return
    lost = sorted(path.name for path in folder.iterdir() if path.name[0] != "." and leads_nowhere(path))
    if lost:
        raise InputError(
            f"{folder}: {listed(lost, 3)}: links to missing files, which may be slices; fetch these files, "
            "or remove the links"
        )


def _stack(series: Series) -> Stack:
    frames: list[Frame] = []
    lost = []
    for file in series.files:
        if file.multi_frame:
            frames += dicom_frames.read_frames(file.path)
        elif file.frame is None:
            lost.append(file.path.name)
        else:
            frames.append(file.frame)
    if lost:
        raise InputError(
            f"{series.where}: {listed(lost, 3)}: got no position, orientation or pixel spacing in "
            f"{len(lost)} of {len(series.files)} files, so place and size of the slices are unknown; "
            "export the series again with them"
        )
    if len({frame.index is None for frame in frames}) > 1:
        raise InputError(f"{series.where}: got files of one slice and of many in one series, wanted one kind")
    return stack(series.where, frames)


def _read_slices(where: Path, files: Sequence[Path]) -> NDArray[np.generic]:
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(file) for file in files])
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return file_order(reader.Execute())
    except RuntimeError as error:
        raise InputError(f"{where}: cannot be read ({last_line(error)})") from None


def _as_stored(file: Path, copy: Path) -> Path:
    """Write a copy of a MONOCHROME1 file whose values GDCM does not invert, and return its path.

    MONOCHROME1 concerns only the display of values.

    Raises:
        InputError: the file's encoding of MONOCHROME1 is not supported.
    """
    copy.write_bytes(with_elements(file, lambda elements: _INVERTED.sub(rb"\g<1>2", elements)))
    if read_file(copy).inverted:
        raise InputError(
            f"{file}: got MONOCHROME1 in a form that cannot be read here; convert it to explicit VR"
        )
    return copy
