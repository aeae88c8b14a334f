"""Whether the label map that is there already is that of the scan: known by content, not by name."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.core.digest import digest_of, digest_of_file
from app.core.errors import InputError
from app.infer.batch.outputs import Outputs
from app.io.grid import corners_apart_mm, turned_grid
from app.io.privacy import Alias
from app.io.volumes import read_header, scan_files

_SAME = 0.1  # of a voxel: closer grids are taken for one


class Fate(StrEnum):
    """What becomes of a scan and the label map of its name."""

    SEGMENT = "segment"
    KEEP = "keep"
    AGAIN = "again"
    """The scan was replaced since: its label map is made again."""
    CLASH = "clash"
    """The label map is that of another scan: neither is touched."""


@dataclass(frozen=True)
class Fingerprint:
    """The content of a scan's files, and their sizes and times of change, by which it is known quickly."""

    content: str
    stamp: str

    @classmethod
    def of(cls, scan: Path) -> "Fingerprint":
        """Read all files of a scan."""
        files = scan_files(scan)
        return cls(digest_of([digest_of_file(file) for file in files]), _stamp(files))


def decide(scan: Path, alias: Alias, outputs: Outputs, record: dict[str, Any], *, overwrite: bool) -> Fate:
    """What becomes of a scan, by what the manifest recorded of the label map of its name."""
    if overwrite or not outputs.labels.is_file():
        return Fate.SEGMENT
    if record.get("status") == "failed":
        return Fate.AGAIN
    try:
        same = _is_of(scan, alias, outputs.labels, record)
    except (InputError, OSError):  # which reading the scan says again
        return Fate.SEGMENT
    if same:
        return Fate.KEEP
    return Fate.AGAIN if record.get("input") == alias.shown else Fate.CLASH


def _is_of(scan: Path, alias: Alias, labels: Path, record: dict[str, Any]) -> bool:
    """Whether a label map is that of a scan: by content, or without a record of it by the grid."""
    known = record.get("scan")
    if known is None:
        return _fits(scan, labels)
    if record.get("input") == alias.shown and known["stamp"] == _stamp(scan_files(scan)):
        return True
    return bool(known["content"] == Fingerprint.of(scan).content)


def clash(outputs: Outputs, record: dict[str, Any]) -> str:
    """Say that the label map of a scan's name is that of another one."""
    other = record.get("input", "a scan on another grid")
    return (
        f"{outputs.labels} is the label map of {other}, and stays; choose another predict.output, or "
        "predict.overwrite=true to replace it"
    )


def _stamp(files: list[Path]) -> str:
    stats = [file.stat() for file in files]
    return digest_of([[stat.st_size, stat.st_mtime_ns] for stat in stats])


def _fits(scan: Path, labels: Path) -> bool:
    """Whether a label map without record lies on the scan's grid; true if either cannot be read."""
    try:
        own, other = read_header(scan), read_header(labels)
    except InputError:
        return True
    size, affine = turned_grid(other.size, other.affine, own.affine)
    return size == own.size and corners_apart_mm(size, affine, own.affine) <= _SAME * min(own.spacing)
