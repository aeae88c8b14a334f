"""Finding scans in the user's input: files, DICOM series, and folders with the channels of one scan."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import InputError
from app.core.reading import BY_SUFFIX, Reading, matches
from app.io.dicom import Series, is_dicom_folder, list_series
from app.io.dicom_files import is_dicom, other_object
from app.io.faults import faults_named
from app.io.links import leads_back, leads_nowhere
from app.io.scan_paths import case_name, find_channels, is_scan_file, scan_exists, scan_files
from app.io.several import scans_of
from app.io.suffixes import SUFFIXES
from app.io.volumes import read_header


@dataclass(frozen=True)
class Found:
    """The scans found, in order, with the names of their results, and paths left out, with the reason."""

    names: Mapping[Path, str]
    left_out: Mapping[Path, str]

    @property
    def scans(self) -> list[Path]:
        """Scans in order."""
        return list(self.names)


def find_scans(sources: Sequence[Path], output: Path, reading: Reading) -> Found:
    """Return the scans of all sources: files and DICOM series themselves, and the scans in other folders.

    DICOM series are found in subfolders of any depth (patient, study, series). Files of other formats are
    found in the folder itself, and in its direct subfolders, each of which is one scan; with channels by
    suffix, files <scan>_0000, <scan>_0001, ... are one scan. If networks take several channels, or words
    choose among series, a scan is the folder that holds its channels. The folder `output`, to which label
    maps are written, and subfolders that contain it are left out.

    Raises:
        InputError: a source does not exist, or holds no scan.
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
    """The folders below a source that may hold scans, without the output folder and its parents."""

    def __init__(self, source: Path, output: Path) -> None:
        self.source = source
        self._without = (output, *output.parents)
        self._all = list(self._walk(source))

    def dicom(self) -> list[Path]:
        """Return the folders that directly hold DICOM images."""
        return [folder for folder in self._all if is_dicom_folder(folder)]

    def files(self) -> dict[Path, list[Path]]:
        """Return the scan files of other formats in the source and its direct subfolders, by folder."""
        near = (folder for folder in self._all if self.source in (folder, folder.parent))
        found = {folder: sorted(filter(is_scan_file, folder.iterdir())) for folder in near}
        return {folder: files for folder, files in found.items() if files}

    def left_out(self, scans: Sequence[Path]) -> dict[Path, str]:
        """Return files and series that belong to no scan, with the reason for each."""
        inside = [path for folder in self._all for path in sorted(folder.iterdir()) if path.name[0] != "."]
        files = [path for path in inside if path.is_file()]
        parts = {part for path in files if is_scan_file(path) for part in _parts(path) if part != path}
        known = set(scans)
        reasons = {
            **{place: _reason_of_series(place, scans) for place in self.dicom()},
            **{path: self._reason(path, known) for path in files if path not in parts},
            **{path: "a link to a missing file" for path in inside if leads_nowhere(path)},
        }
        return {path: reason for path, reason in reasons.items() if reason}

    def _reason(self, path: Path, scans: Collection[Path]) -> str:
        if not is_scan_file(path):
            return other_object(path) if is_dicom(path) else "no known format"
        if any(place in scans for place in (path, *path.parents, *scans_of([path]))):
            return ""
        if self.source in (path.parent, path.parent.parent):
            return "a scan file beside other scans that it does not belong to; give the file itself"
        return "a scan file more than one folder down; give its folder"

    def _walk(self, folder: Path) -> Iterator[Path]:
        yield folder
        with faults_named(folder, "a folder"):
            inside = sorted(folder.iterdir())
        for path in inside:
            unseen = path.is_dir() and path.name[0] != "." and not leads_back(path)
            if unseen and path.resolve() not in self._without:
                yield from self._walk(path)


def _reason_of_series(folder: Path, scans: Sequence[Path]) -> str:
    """Return why a folder of slices is not a scan; empty if it is one, or a part of one."""
    if any(scan in (folder, *folder.parents) or (scan.parent == folder and scan.is_file()) for scan in scans):
        return ""
    if any(folder in scan.parents for scan in scans):
        return "slices beside other scans in the same folder; put them into a folder of their own"
    return "series that the option channels does not choose"


def _parts(path: Path) -> list[Path]:
    """Return the files of a scan; itself alone if others are missing, which reading the scan reports."""
    try:
        return scan_files(path)
    except InputError:
        return [path]


def _scans_in(folder: _Folder, reading: Reading) -> Iterator[Path]:
    files = folder.files()
    if len(reading.modalities) <= 1 and not reading.words:
        apart = folder.source if folder.source in files else None
        series = [scan for place in folder.dicom() for scan in _alone(place, apart=place == apart)]
    else:
        series = list(_grouped(folder, reading))
    yield from series
    for place, found in files.items():
        if reading.channels == BY_SUFFIX and (numbered := scans_of(found)):
            yield from numbered
        elif place in series:
            continue  # one scan with its slices; reading it refuses files that are not channels
        elif place == folder.source and not _is_one_scan(found, reading):
            yield from found
        elif not is_dicom_folder(place):
            yield place


def _alone(folder: Path, *, apart: bool) -> Iterable[Path]:
    """Return a folder of slices as one scan, or its files if each is a multi-frame series.

    With `apart`, other scans are in the folder, so that a single multi-frame file is a scan by itself.
    """
    try:
        series = list_series(folder)
    except InputError:  # reading the scan will report it, without stopping other scans
        return [folder]
    each = len(series) + apart > 1 and all(len(one.files) == 1 and one.files[0].multi_frame for one in series)
    return [one.files[0].path for one in series] if each else [folder]


def _grouped(folder: _Folder, reading: Reading) -> Iterator[Path]:
    """Yield, for each folder of slices, the nearest folder that holds all channels of one patient.

    It is the folder of slices itself or one above it. If none holds all channels, the folder directly above
    is taken, or the folder of slices itself if that is directly in the source.
    """
    for series in folder.dicom():
        above = [series, *series.parents]
        inside = above[: above.index(folder.source) + 1]
        together = inside[1] if len(inside) > 2 else series
        yield next((place for place in inside if _is_whole(place, reading)), together)


def _without_outer(scans: set[Path]) -> list[Path]:
    """Return the scans that do not contain another scan, sorted."""
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
    """Return whether files are the channels of one scan: one file per modality, with one channel each."""
    if len(files) < 2 or len(files) != len(reading.modalities):
        return False
    try:
        return all(read_header(file).channels == 1 for file in files)
    except InputError:
        return False


def _names(source: Path, scans: Sequence[Path]) -> dict[Path, str]:
    """Return the names of scans.

    A scan below a folder of the source has that folder's name if it is the only scan there; otherwise its
    path from the source, joined by underscores. A scan directly in the source has the name of its file or
    folder.
    """
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
