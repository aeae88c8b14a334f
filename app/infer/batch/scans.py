"""What a user points at, as the scans it holds: files, DICOM series, and folders of one scan's channels."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import InputError
from app.core.reading import BY_SUFFIX, Reading, matches
from app.io.dicom import Series, is_dicom_folder, list_series
from app.io.dicom_files import is_dicom, other_object
from app.io.several import scans_of
from app.io.suffixes import SUFFIXES
from app.io.volumes import (
    case_name,
    find_channels,
    is_scan_file,
    read_header,
    scan_exists,
    scan_files,
)


@dataclass(frozen=True)
class Found:
    """Scans in order with the names of their results, and what was left out, with the reason."""

    names: Mapping[Path, str]
    left_out: Mapping[Path, str]

    @property
    def scans(self) -> list[Path]:
        """The scans in order."""
        return list(self.names)


def find_scans(sources: Sequence[Path], output: Path, reading: Reading) -> Found:
    """Scans in order: files and DICOM series as they are, other folders as the scans in them.

    DICOM series are found in subfolders of any depth (patient, study, series), files of other formats in the
    folder and in its subfolders, which are then one scan each; with channels by suffix, files <scan>_0000,
    <scan>_0001, ... are one scan. If networks take several channels, or words choose among series, a scan is
    the folder that holds its channels. The folder `output` that label maps go to holds no scan, nor does
    what holds it.

    Raises:
        InputError: no such file or folder, or no scan in it.
    """
    names: dict[Path, str] = {}
    left_out: dict[Path, str] = {}
    for source in sources:
        if not source.is_dir() and scan_exists(source):
            scan = next(iter(scans_of([source])), source) if reading.channels == BY_SUFFIX else source
            names[scan] = case_name(scan)
            continue
        if not source.is_dir():
            raise InputError(f"predict.input: {source}: no such file or folder")
        folder = _Folder(source, output.resolve())
        scans = _without_outer(set(_scans_in(folder, reading)))
        left_out |= folder.left_out(scans)
        if not scans:
            raise InputError(
                f"predict.input: {source}: got no scan in it, wanted files {', '.join(SUFFIXES)} or DICOM"
                f"{_listed(left_out)}"
            )
        names |= _names(source, scans)
    return Found(names, left_out)


class _Folder:
    """The folders below a source that may hold scans, without the output folder and what holds it."""

    def __init__(self, source: Path, output: Path) -> None:
        self.source = source
        self._without = (output, *output.parents)
        self._all = list(self._walk(source))

    def dicom(self) -> list[Path]:
        """Folders that directly hold DICOM images."""
        return [folder for folder in self._all if is_dicom_folder(folder)]

    def files(self) -> dict[Path, list[Path]]:
        """Scan files of other formats by folder: the source and its subfolders."""
        near = (folder for folder in self._all if self.source in (folder, folder.parent))
        found = {folder: sorted(filter(is_scan_file, folder.iterdir())) for folder in near}
        return {folder: files for folder, files in found.items() if files}

    def left_out(self, scans: Sequence[Path]) -> dict[Path, str]:
        """Files that are no scan, or lie too deep, and series that belong to none, with the reason."""
        files = [path for folder in self._all for path in sorted(folder.iterdir()) if path.is_file()]
        parts = {part for path in files if is_scan_file(path) for part in _parts(path) if part != path}
        reasons = {path: self._reason(path) for path in files if path.name[0] != "." and path not in parts}
        outside = [
            series
            for series in self.dicom()
            if not any(scan in (series, *series.parents) or scan.parent == series for scan in scans)
        ]
        unchosen = dict.fromkeys(outside, "series that the option channels does not choose")
        return unchosen | {path: reason for path, reason in reasons.items() if reason}

    def _reason(self, path: Path) -> str:
        if is_scan_file(path):
            near = self.source in (path.parent, path.parent.parent)
            return "" if near else "a scan file more than one folder down; give its folder"
        return other_object(path) if is_dicom(path) else "no known format"

    def _walk(self, folder: Path) -> Iterator[Path]:
        yield folder
        for path in sorted(folder.iterdir()):
            if path.is_dir() and path.name[0] != "." and path.resolve() not in self._without:
                yield from self._walk(path)


def _parts(path: Path) -> list[Path]:
    """The files of a scan; itself alone where the others are missing, which reading it says again."""
    try:
        return scan_files(path)
    except InputError:
        return [path]


def _scans_in(folder: _Folder, reading: Reading) -> Iterator[Path]:
    if len(reading.modalities) <= 1 and not reading.words:
        for series in folder.dicom():
            yield from _alone(series)
    else:
        yield from _grouped(folder, reading)
    for place, files in folder.files().items():
        if reading.channels == BY_SUFFIX and (numbered := scans_of(files)):
            yield from numbered
        elif place == folder.source and not _is_one_scan(files, reading):
            yield from files
        elif not is_dicom_folder(place):
            yield place


def _alone(folder: Path) -> Iterable[Path]:
    """A folder of slices; or its files, where each is a multi-frame series."""
    try:
        series = list_series(folder)
    except InputError:  # which reading it will say again, without stopping other scans
        return [folder]
    each = len(series) > 1 and all(len(one.files) == 1 and one.files[0].multi_frame for one in series)
    return [one.files[0].path for one in series] if each else [folder]


def _grouped(folder: _Folder, reading: Reading) -> Iterator[Path]:
    """For each folder of slices the nearest folder, itself or above, with all channels of one patient."""
    for series in folder.dicom():
        above = [series, *series.parents]
        inside = above[: above.index(folder.source) + 1]
        together = inside[1] if len(inside) > 2 else series
        yield next((place for place in inside if _is_whole(place, reading)), together)


def _without_outer(scans: set[Path]) -> list[Path]:
    """The scans that do not hold another one."""
    outer = {folder for scan in scans for folder in scan.parents}
    return sorted(scans - outer)


def _is_whole(folder: Path, reading: Reading) -> bool:
    try:
        channels = find_channels(folder)
    except InputError:
        return False
    patients = {one.source.files[0].patient for one in channels if isinstance(one.source, Series)}
    if len(patients) > 1:
        return False
    if reading.words:
        return all(sum(matches(word, one.names) for one in channels) == 1 for word in reading.words)
    return len(channels) == len(reading.modalities)


def _is_one_scan(files: Sequence[Path], reading: Reading) -> bool:
    """Whether files side by side are the channels of one scan: as many as those, of one channel each."""
    if len(files) < 2 or len(files) != len(reading.modalities):
        return False
    try:
        return all(read_header(file).channels == 1 for file in files)
    except InputError:
        return False


def _names(source: Path, scans: Sequence[Path]) -> dict[Path, str]:
    """The folder directly in the source that holds a scan alone, or the whole way to it."""
    inside: dict[str, list[Path]] = defaultdict(list)
    for scan in scans:
        inside["" if scan == source else scan.relative_to(source).parts[0]].append(scan)
    names = {}
    for top, found in inside.items():
        for scan in found:
            deep = source not in {scan, scan.parent}
            parts = [*scan.relative_to(source).parts[:-1], case_name(scan)] if deep else [case_name(scan)]
            names[scan] = top if deep and len(found) == 1 else "_".join(parts)
    return {scan: names[scan] for scan in scans}


def _listed(left_out: Mapping[Path, str]) -> str:
    reasons = sorted({reason for reason in left_out.values() if reason != "no known format"})
    return f"; there are: {', '.join(reasons)}" if reasons else ""
