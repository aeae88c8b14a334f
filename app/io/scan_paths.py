"""Which paths are scans, their names, and the files and channels of each."""

from pathlib import Path
from typing import Any

from app.core.errors import InputError
from app.core.reading import DEFAULT_READING, Reading
from app.io import channels, dicom, itk, nifti
from app.io.channels import Channel, order_channels
from app.io.dicom_files import is_dicom
from app.io.links import files_below
from app.io.several import numbered_files
from app.io.suffixes import NIFTI, SUFFIXES, pair_of, stem_of, suffix_of

_DICOM_SUFFIXES = (".dcm", ".DCM", ".dicom", ".ima", ".IMA")


def case_name(path: Path) -> str:
    """Return the name of a scan: the file name without its suffix, or the whole name if it has no suffix.

    Folders, DICOM files without suffix and scans of numbered files keep their whole names. The folders . and
    .. have the names of the folders that they stand for.

    Raises:
        InputError: the path is none of these.
    """
    if path.is_dir():
        return path.resolve().name if path.name in ("", "..") else path.name
    if suffix_of(path):
        return stem_of(path)
    for suffix in _DICOM_SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    if (path.is_file() and is_dicom(path)) or numbered_files(path):
        return path.name
    raise InputError(f"{path}: got suffix {path.suffix!r}, wanted one of {', '.join(SUFFIXES)}")


def scans_by_case(folder: Path) -> dict[str, Path]:
    """Return the scans of a folder by name: files of a known format and subfolders, except hidden ones.

    Raises:
        InputError: two scans have the same name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name[0] == "." or not (path.is_dir() or is_scan_file(path) or is_dicom(path)):
            continue
        case = case_name(path)
        if case in found:
            raise InputError(f"{folder}: got {found[case].name} and {path.name}, wanted one of {case}")
        found[case] = path
    return found


def scan_files(path: Path) -> list[Path]:
    """Return all files of a scan: the file and its other part, or a folder's files except hidden ones."""
    if numbered := numbered_files(path):
        return [file for part in numbered for file in format_of(part).files_of(part)]
    if not path.is_dir():
        return list(format_of(path).files_of(path)) if suffix_of(path) else [path]
    return files_below(path)


def channels_of(folder: Path, reading: Reading = DEFAULT_READING) -> list[Channel]:
    """Return the channels, in order, of a scan that is a folder or numbered files.

    Raises:
        InputError: there is no scan in the folder, or the names do not give one order.
    """
    return order_channels(folder, find_channels(folder), reading)


def find_channels(folder: Path) -> list[Channel]:
    """Return the numbered files of a scan, or all scan files and series in a folder and its subfolders.

    Raises:
        InputError: there is none, or a DICOM image cannot be read.
    """
    numbered = numbered_files(folder)
    return [Channel(path.name, path) for path in numbered] or channels.channels_in_folder(
        folder, is_scan_file
    )


def scan_exists(path: Path) -> bool:
    """Return whether the path is an existing file or folder, or a scan of numbered files."""
    return path.exists() or bool(numbered_files(path))


def is_several(path: Path) -> bool:
    """Return whether a scan is a folder or numbered files."""
    return path.is_dir() or bool(numbered_files(path))


def series_of(path: Path, reading: Reading = DEFAULT_READING) -> dicom.Series | None:
    """Return the DICOM series of a scan's first channel; None if that channel has another format."""
    if is_several(path):
        source = channels_of(path, reading)[0].source
        return source if isinstance(source, dicom.Series) else None
    return None if suffix_of(path) else dicom.only_series(path)


def is_scan_file(path: Path) -> bool:
    """Return whether a file is a scan, by its suffix; DICOM files are recognised elsewhere, by content.

    For NIfTI in two files, the voxel file counts as the scan; the header counts only if it is alone.
    """
    if not path.is_file() or path.name[0] == "." or not suffix_of(path):
        return False
    pair = pair_of(path)
    return pair is None or path == pair[1] or not pair[1].exists()


def format_of(path: Path) -> Any:
    """Return the module that reads a file's format."""
    return nifti if suffix_of(path, NIFTI) else itk
