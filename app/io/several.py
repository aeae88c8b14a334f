"""Scans in several files of one folder, <scan>_0000, <scan>_0001, ..., as nnU-Net names channels.

The path of such a scan is that of its files without number and suffix; no file exists at the path itself.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from app.io.suffixes import SUFFIXES, stem_of, suffix_of

_NUMBERED = re.compile(r"(.+)_(\d{4})")


def numbered_files(scan: Path) -> list[Path]:
    """Return the numbered files of a scan in the order of their channels; none if there are no such files."""
    found: list[Path] = []
    if not scan.name or scan.exists():
        return found
    for suffix in (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)):
        while (path := scan.with_name(f"{scan.name}_{len(found):04d}{suffix}")).is_file():
            found.append(path)
        if found:
            break
    return found


def scans_of(files: Sequence[Path]) -> dict[Path, list[Path]]:
    """Return the files with a number in their names, grouped by the path of their scan."""
    found: dict[Path, list[Path]] = {}
    for path in sorted(files):
        named = _NUMBERED.fullmatch(stem_of(path)) if suffix_of(path) else None
        if named:
            found.setdefault(path.with_name(named[1]), []).append(path)
    return found
