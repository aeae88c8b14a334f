"""The decision to keep or replace an existing label map, by the content of its scan instead of the name."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.core.digest import digest_of, digest_of_file
from app.core.errors import InputError
from app.core.reading import Reading
from app.infer.batch.outputs import Outputs
from app.io.grid import corners_apart_mm, reoriented_grid
from app.io.privacy import Alias
from app.io.scan_paths import scan_files
from app.io.volumes import read_header

_SAME = 0.1  # voxels; grids that are no farther apart count as equal


class Fate(StrEnum):
    """The treatment of a scan and of the label map with its name."""

    SEGMENT = "segment"
    KEEP = "keep"
    AGAIN = "again"
    """The scan was replaced, failed, or was interrupted while it was written; it is segmented again."""
    CLASH = "clash"
    """The label map belongs to another scan; the scan is not segmented and the label map is kept."""


@dataclass(frozen=True)
class ScanIdentity:
    """The identity of a scan: a digest of its files' content, and one of their sizes and times for speed."""

    content: str
    stamp: str

    @classmethod
    def of(cls, scan: Path) -> "ScanIdentity":
        """Read all files of a scan and return its fingerprint."""
        files = scan_files(scan)
        return cls(digest_of([digest_of_file(file) for file in files]), _stamp(files))


def decide(scan: Path, alias: Alias, outputs: Outputs, record: dict[str, Any], reading: Reading) -> Fate:
    """Return the treatment of a scan if existing label maps are kept.

    `record` is the manifest's record of the label map with its name.
    """
    if not outputs.labels.is_file():
        return Fate.SEGMENT
    if record.get("status") in ("failed", "begun"):
        return Fate.AGAIN
    try:
        same = _is_of(scan, alias, outputs.labels, record, reading)
    except (InputError, OSError):  # segmenting the scan will raise it again and report it
        return Fate.SEGMENT
    if same:
        return Fate.KEEP
    return Fate.AGAIN if record.get("input") == alias.shown else Fate.CLASH


def _is_of(scan: Path, alias: Alias, labels: Path, record: dict[str, Any], reading: Reading) -> bool:
    """Return whether a label map belongs to a scan, by content or, without a record of it, by the grid."""
    known = record.get("scan")
    if known is None:
        return _fits(scan, labels, reading)
    if record.get("input") == alias.shown and known["stamp"] == _stamp(scan_files(scan)):
        return True
    return bool(known["content"] == ScanIdentity.of(scan).content)


def clash(outputs: Outputs, record: dict[str, Any]) -> str:
    """Return the message that the label map with a scan's name belongs to another scan."""
    other = record.get("input", "a scan on another grid")
    return (
        f"{outputs.labels} is the label map of {other} and is kept; choose another predict.output, or "
        "predict.overwrite=true to replace it"
    )


def _stamp(files: list[Path]) -> str:
    stats = [file.stat() for file in files]
    return digest_of([[stat.st_size, stat.st_mtime_ns] for stat in stats])


def _fits(scan: Path, labels: Path, reading: Reading) -> bool:
    """Return whether a label map without a record is on the scan's grid; True if either is unreadable."""
    try:
        own, other = read_header(scan, reading), read_header(labels)
    except InputError:
        return True
    size, affine = reoriented_grid(other.size, other.affine, own.affine)
    return size == own.size and corners_apart_mm(size, affine, own.affine) <= _SAME * min(own.spacing)
