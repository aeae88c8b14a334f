"""Single DICOM files: recognising them, their kind of object, patient, and the position of their slice."""

import math
import re
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from app.core.errors import InputError
from app.io.decoding import decoding
from app.io.dicom_elements import find_pixels
from app.io.faults import faults_named, last_line

_MAGIC, _PREAMBLE_BYTES = b"DICM", 128
_SEARCHED_BYTES = 65_536
_VALUE_TYPES = (b"UL", b"OB", b"UI", b"CS", b"SH", b"LO", b"DA", b"TM")
_SOP_CLASS = re.compile(
    rb"(?:\x02\x00\x02\x00UI|\x08\x00\x16\x00(?:UI)?)(?:..|....)(1\.2\.840\.10008\.[\d.]+)", re.DOTALL
)
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_OTHER_OBJECTS = {
    "1.2.840.10008.1.3.10": "a DICOMDIR",
    _STORAGE + "4.2": "an MR spectroscopy",
    _STORAGE + "9.": "a waveform",
    _STORAGE + "11.": "a presentation state",
    _STORAGE + "66": "a segmentation, registration or other derived object",
    _STORAGE + "88.": "a structured report",
    _STORAGE + "104.": "an encapsulated document",
    _STORAGE + "481.3": "a radiotherapy structure set",
    _STORAGE + "481.": "a radiotherapy object",
}
"""Objects in DICOM files other than images, by the start of their SOP class."""
_SPACINGS = ("0028|0030", "0018|1164", "0018|2010")
"""Size of pixels: PixelSpacing, ImagerPixelSpacing and NominalScannedPixelSpacing."""
_MULTI_FRAME = tuple(
    _STORAGE + part for part in ("2.1", "2.2", "4.1", "4.3", "4.4", "7.2", "7.3", "128.1", "130")
)


@dataclass(frozen=True)
class Frame:
    """A slice: its size (columns, rows), the directions of rows and columns, and its corner in LPS mm.

    `index` is the number of the frame in a multi-frame file, from 0; None for a file of one slice. `scale` is
    slope and intercept if the reader does not apply them.
    """

    file: Path
    index: int | None
    size: tuple[int, int]
    axes: tuple[float, ...]
    spacing: tuple[float, float]
    position: tuple[float, float, float]
    thickness_mm: float | None
    scale: tuple[float, float] = (1.0, 0.0)

    @property
    def name(self) -> str:
        """The file's name, followed by the frame number from 1 in a multi-frame file."""
        return self.file.name if self.index is None else f"{self.file.name} frame {self.index + 1}"


@dataclass(frozen=True)
class DicomFile:
    """An image file of a series; `frame` is None if it has several frames, or no position or size."""

    path: Path
    series: str
    number: int
    description: str
    multi_frame: bool
    inverted: bool
    """Whether low values are displayed white (MONOCHROME1); stored values must not be inverted for this."""
    patient: tuple[str, str, str]
    """Name, id and date of birth, each empty if not given."""
    identity_removed: bool
    """Whether the header states that name and id are not the patient's own."""
    frame: Frame | None
    compressed: bool
    """Whether a decoder is needed for its pixels."""


def is_dicom(file: Path) -> bool:
    """Return whether a file is DICOM, by its preamble or, in old files without one, by its first element.

    Raises:
        InputError: the file cannot be read, for example because its owner does not allow it.
    """
    with faults_named(file, "DICOM"), file.open("rb") as stream:
        start = stream.read(_PREAMBLE_BYTES + len(_MAGIC))
    return start[_PREAMBLE_BYTES:] == _MAGIC or _starts_bare(start)


def sop_class(file: Path) -> str:
    """Return the SOP class UID of a DICOM file; empty if it is not found near the start of the file.

    Raises:
        InputError: the file cannot be read.
    """
    with faults_named(file, "DICOM"), file.open("rb") as stream:
        found = _SOP_CLASS.search(stream.read(_SEARCHED_BYTES))
    return found.group(1).decode().rstrip(".") if found else ""


def other_object(file: Path) -> str:
    """Return a description of the object in a DICOM file that is not an image; empty for an image."""
    uid = sop_class(file)
    return next((what for start, what in _OTHER_OBJECTS.items() if uid.startswith(start)), "")


def read_file(path: Path) -> DicomFile:
    """Read the header of an image file.

    Raises:
        InputError: the file cannot be read, is in colour, or has a modality LUT.
    """
    state = path.stat()
    return _read_file(path, state.st_mtime_ns, state.st_size)


def _starts_bare(start: bytes) -> bool:
    group, element, kind = start[:2], start[2:4], start[4:6]
    if (
        group not in (b"\x02\x00", b"\x08\x00")
        or len(start) < 16
        or element > b"\x18\x00"
        or element[1:] != b"\x00"
    ):
        return False
    return kind in _VALUE_TYPES or int.from_bytes(start[4:8], "little") <= 128


@lru_cache(maxsize=20_000)  # listing, reading the header and reading the voxels each need the same file
def _read_file(path: Path, _modified: int, _size: int) -> DicomFile:
    pixels = find_pixels(path)
    if pixels.has_lut:
        raise InputError(
            f"{path}: got a modality LUT (0028,3000), wanted slope and intercept: the values of such a table "
            "are not read here; convert the series to rescaled values first"
        )
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    compressed = pixels.bytes is None
    try:
        with decoding(path) if compressed else nullcontext():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as DICOM ({last_line(error)})") from None
    tags = {key: _text(reader.GetMetaData(key)) for key in reader.GetMetaDataKeys()}
    if reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"{path}: got {reader.GetNumberOfComponents()} values per voxel, wanted a grey-level image"
        )
    wanted = math.prod(reader.GetSize()) * (_number(tags.get("0028|0100")) or 8) / 8
    if pixels.bytes is not None and pixels.bytes < wanted:
        raise InputError(
            f"{path}: got {pixels.bytes} bytes of pixels, its header says {wanted:.0f}; is it damaged or "
            "cut short?"
        )
    several = _number(tags.get("0028|0008")) or 1
    multi_frame = several > 1 or tags.get("0008|0016", "") in _MULTI_FRAME
    return DicomFile(
        path,
        series=tags.get("0020|000e", ""),
        number=int(_number(tags.get("0020|0011")) or 0),
        description=tags.get("0008|103e", ""),
        multi_frame=multi_frame,
        inverted=tags.get("0028|0004") == "MONOCHROME1",
        patient=(tags.get("0010|0010", ""), tags.get("0010|0020", ""), tags.get("0010|0030", "")),
        identity_removed=tags.get("0012|0062") == "YES",
        frame=None if multi_frame else _frame(path, reader, tags),
        compressed=compressed,
    )


def _frame(path: Path, reader: sitk.ImageFileReader, tags: dict[str, str]) -> Frame | None:
    if "0020|0032" not in tags or "0020|0037" not in tags or not _has_spacing(tags):
        return None
    directions = np.array(reader.GetDirection()).reshape(3, 3)
    i, j = reader.GetSpacing()[:2]
    x, y, z = reader.GetOrigin()
    thickness = _number(tags.get("0018|0050"))
    return Frame(
        path,
        None,
        size=(int(reader.GetSize()[0]), int(reader.GetSize()[1])),
        axes=(*directions[:, 0].tolist(), *directions[:, 1].tolist()),
        spacing=(i, j),
        position=(x, y, z),
        thickness_mm=thickness if thickness else None,
    )


def _has_spacing(tags: dict[str, str]) -> bool:
    """Return whether a header has the size of pixels, for which GDCM otherwise takes 1 mm."""
    found = (tags.get(key, "").split("\\") for key in _SPACINGS)
    return any(len(mm) == 2 and all((_number(text) or 0) > 0 for text in mm) for mm in found)


def _text(value: str) -> str:
    """Return a tag's text without padding; text that is not UTF-8 is read as Latin-1."""
    stored = value.encode("utf-8", "surrogateescape")
    try:
        return stored.decode("utf-8").strip(" \0")
    except UnicodeDecodeError:
        return stored.decode("latin-1").strip(" \0")


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
