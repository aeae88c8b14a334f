"""What a user points at, as the scans it holds."""

from collections.abc import Sequence
from pathlib import Path

from app.core.errors import InputError
from app.io.dicom import is_dicom_folder
from app.io.volumes import SUFFIXES, case_name


def list_scans(sources: Sequence[Path], output: Path) -> list[Path]:
    """Scans in order: files and DICOM series as they are, other folders as the scans directly in them.

    In a folder of scans, a subfolder is one when it is a DICOM series or holds one file a channel; the folder
    `output` that label maps go to is none, nor is what holds it.

    Raises:
        InputError: no such file or folder, or no scan in it.
    """
    return [scan for source in sources for scan in _scans_of(source, output.resolve())]


def _scans_of(source: Path, output: Path) -> list[Path]:
    if source.is_file():
        case_name(source)
        return [source]
    if not source.is_dir():
        raise InputError(f"predict.input: {source}: no such file or folder")
    if is_dicom_folder(source):
        return [source]
    inside = (path for path in source.iterdir() if path.name[0] != "." and _is_scan(path))
    scans = sorted(path for path in inside if path.resolve() not in (output, *output.parents))
    if not scans:
        raise InputError(f"predict.input: {source}: got no scan in it, wanted files {', '.join(SUFFIXES)}")
    return scans


def _is_scan(path: Path) -> bool:
    if path.is_dir():
        return is_dicom_folder(path) or any(_is_scan_file(file) for file in path.iterdir())
    return _is_scan_file(path)


def _is_scan_file(path: Path) -> bool:
    return path.is_file() and path.name.endswith(SUFFIXES) and path.name[0] != "."
