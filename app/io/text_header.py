"""Text headers of NRRD and MetaImage files: where the voxels are and how they are stored.

ITK reads all other fields. Values for which its MetaImage reader would only print a warning are refused here.
"""

import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from app.core.errors import InputError
from app.io.faults import faults_named
from app.io.suffixes import suffix_of

_MOST_BYTES = 65_536  # read of a header
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_DATA_FILE = re.compile(rb"^ElementDataFile[ \t]*=[ \t]*([^\r\n]*)(?:\r?\n)?", re.MULTILINE)
_NRRD_FIELD = re.compile(rb"^([\w ]+?):[ \t]*([^\r\n]*)", re.MULTILINE)
_META_FIELD = re.compile(r"([^=:]*[^=:\s])\s*[=:]\s*(.*?)\s*")
_WHOLE, _TRUTH = "a whole number", "True or False"
_WORDS = {
    "NDims": ("[34]", "3 or 4"),
    "BinaryData": ("(?i:t|true|f|false|1|0|y|yes|n|no)", _TRUTH),
    "CompressedData": ("(?i:t|true|f|false|1|0|y|yes|n|no)", _TRUTH),
    "CompressedDataSize": (r"\d+", _WHOLE),
    "HeaderSize": (r"-?\d+", _WHOLE),
    "ElementNumberOfChannels": (r"[1-9]\d*", _WHOLE),
    "ElementType": (r"MET_\w+", "a type such as MET_SHORT"),
}
"""Allowed values of fields, as a pattern and in words."""
_PER_AXIS = ("DimSize", "ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
_PER_PAIR = ("TransformMatrix", "Rotation", "Orientation")


@dataclass(frozen=True)
class TextHeader:
    """The place and encoding of the voxels of a file."""

    voxels: Path
    """The file that holds the voxels."""
    start: int
    """First byte of the voxels; 0 if they are in a separate file or the end of the header is not found."""
    zipped: bool
    raw: bool
    """Whether voxels are stored uncompressed and binary; neither raw nor zipped means text."""
    packed_bytes: int | None = None
    """Compressed bytes of the voxels as the header states them; None if it does not."""


def read_text_header(path: Path) -> TextHeader:
    """Read the start of an NRRD or MetaImage file.

    Raises:
        InputError: the file cannot be read or is not in the format of its suffix, or the voxel file is
            missing or in another folder.
    """
    with faults_named(path, "NRRD or MetaImage"), path.open("rb") as stream:
        start = stream.read(_MOST_BYTES)
    return _nrrd(path, start) if suffix_of(path) in (".nrrd", ".nhdr") else _meta(path, start)


def _nrrd(path: Path, start: bytes) -> TextHeader:
    if not start.startswith(b"NRRD"):
        raise InputError(f"{path}: got {start[:4]!r} at its start, wanted an NRRD header")
    end = _BLANK_LINE.search(start)
    head = start[: end.start()] if end else start
    fields = {name.lower().replace(b" ", b""): value for name, value in _NRRD_FIELD.findall(head)}
    elsewhere = _text(fields.get(b"datafile", b""))
    encoding = _text(fields.get(b"encoding", b"")).lower()
    first = 0 if elsewhere or not end else end.end()
    voxels = _beside(path, elsewhere) if elsewhere else path
    return TextHeader(voxels, first, encoding in ("gzip", "gz"), encoding == "raw")


def _meta(path: Path, start: bytes) -> TextHeader:
    last = _DATA_FILE.search(start)
    if last is None:
        raise InputError(f"{path}: got no line ElementDataFile in its header, wanted a MetaImage")
    fields: dict[str, str] = {}
    for number, line in enumerate(_text(start[: last.start()]).splitlines(), start=1):
        found = _META_FIELD.fullmatch(line)
        if found is None or "\0" in line:  # ITK's text ends at the first NUL
            raise InputError(f"{path}: header line {number}: got {line[:80]!r}, wanted <field> = <value>")
        _refuse_other(path, found[1], found[2], fields)
        fields[found[1]] = found[2]
    for name in ("NDims", "DimSize", "ElementType"):
        if name not in fields:
            raise InputError(f"{path}: got no {name} in its header, wanted size and type of the image")
    name = _text(last[1])
    zipped, binary = (
        fields.get(field, usual)[:1].lower() in ("t", "y", "1")
        for field, usual in (("CompressedData", "False"), ("BinaryData", "True"))
    )
    if zipped and not binary:
        raise InputError(f"{path}: got CompressedData = True with BinaryData = False, wanted one of them")
    apart = name.upper() != "LOCAL"
    size = int(fields.get("CompressedDataSize", "0")) or None
    if zipped and not apart and size is None:
        raise InputError(f"{path}: got no CompressedDataSize in its header, wanted the bytes of its voxels")
    voxels, first = (_beside(path, name), 0) if apart else (path, last.end())
    return TextHeader(voxels, first, zipped, binary and not zipped, size if zipped else None)


def _refuse_other(path: Path, name: str, text: str, before: dict[str, str]) -> None:
    """Refuse a field's value of the wrong kind, or with the wrong count of numbers for the dimensions.

    `before` holds the fields of earlier lines.
    """
    if name in _WORDS:
        pattern, wanted = _WORDS[name]
        if not re.fullmatch(pattern, text):
            raise InputError(f"{path}: {name}: got {text[:80]!r}, wanted {wanted}")
    if name not in (*_PER_AXIS, *_PER_PAIR):
        return
    if "NDims" not in before:
        raise InputError(f"{path}: got {name} before NDims in its header, wanted NDims first")
    count = int(before["NDims"]) ** (1 + (name in _PER_PAIR))
    numbers = [_number(word) for word in text.split()]
    if len(numbers) != count or None in numbers:
        raise InputError(f"{path}: {name}: got {text[:80]!r}, wanted {count} numbers")


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _beside(path: Path, name: str) -> Path:
    """Return the voxel file `name`, which must be in the folder of the header.

    Raises:
        InputError: it is in another folder, or is missing.
    """
    apart = suffix_of(path) in (".mhd", ".nhdr")
    if not apart or not name or Path(name).name != name or "\\" in name or not name.isprintable():
        where = "in the file itself, or for .mhd and .nhdr in a file next to it"
        raise InputError(f"{path}: its voxels are in {name[:80]!r}, wanted them {where}")
    beside = path.with_name(name)
    try:
        there = beside.is_file()
    except OSError:  # an impossible file name
        there = False
    if not there:
        raise InputError(f"{path}: got no {name[:80]!r} next to it, the file with its voxels")
    return beside


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace").strip(" \t")
