"""Channels of a scan that is a folder: files and DICOM series in it and in its subfolders, in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import InputError
from app.core.reading import BY_NAME, BY_SUFFIX, Reading, matches
from app.io import dicom
from app.io.links import leads_back

_NAMED = 8  # most series in a message


@dataclass(frozen=True)
class Channel:
    """A channel of a scan: a file or a DICOM series; `name` is its path relative to the scan's folder."""

    name: str
    source: Path | dicom.Series

    @property
    def path(self) -> Path:
        """The file, or the folder of the series."""
        return self.source if isinstance(self.source, Path) else self.source.where

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the channel: its relative path and, for a series, the series description."""
        return (self.name,) if isinstance(self.source, Path) else (self.name, self.source.description)

    @property
    def shown(self) -> str:
        """The names as one text for messages."""
        return " / ".join(name for name in self.names if name)


def channels_in_folder(folder: Path, is_scan_file: Callable[[Path], bool]) -> list[Channel]:
    """Return all scan files and series in a folder and its subfolders, sorted by name, except hidden ones.

    Raises:
        InputError: there is none, or a DICOM image cannot be read.
    """
    found = list(_walk(folder, folder, is_scan_file))
    if not found:
        raise InputError(f"{folder}: got no scan in it, wanted a DICOM series or one scan per channel")
    return sorted(found, key=lambda channel: channel.names)


def order_channels(folder: Path, found: Sequence[Channel], reading: Reading) -> list[Channel]:
    """Return the channels in the order that `reading` asks for; if it has words, only those they match.

    Raises:
        InputError: a word matches no channel or several, there are more or fewer series than channels, or
            names of modalities contradict the alphabetical order.
    """
    if reading.channels == BY_SUFFIX:
        return list(found)
    if not reading.words:
        _refuse_other_count(folder, found, reading.modalities)
        _refuse_contradiction(folder, found, reading.modalities)
        return list(found)
    chosen = []
    for word in reading.words:
        fitting = [channel for channel in found if matches(word, channel.names)]
        if len(fitting) != 1:
            listed = "; ".join(channel.shown for channel in found)
            raise InputError(
                f"{folder}: channels: {len(fitting)} of these match {word!r}, wanted one: {listed}; give for "
                "each channel a word that is in its name or series description"
            )
        chosen += fitting
    if len({id(channel) for channel in chosen}) < len(chosen):
        raise InputError(
            f"{folder}: channels: got {list(reading.words)}, two of which match the same channel; wanted one "
            "word for each"
        )
    return chosen


def _walk(folder: Path, top: Path, is_scan_file: Callable[[Path], bool]) -> Iterator[Channel]:
    inside = sorted(path for path in folder.iterdir() if path.name[0] != ".")
    name = folder.relative_to(top).as_posix() if folder != top else folder.name
    if dicom.is_dicom_folder(folder):
        yield from (Channel(name, series) for series in dicom.list_series(folder))
    for path in inside:
        if path.is_dir() and not leads_back(path):
            yield from _walk(path, top, is_scan_file)
        elif is_scan_file(path):
            yield Channel(path.relative_to(top).as_posix(), path)


def _refuse_contradiction(folder: Path, found: Sequence[Channel], modalities: Sequence[str]) -> None:
    """Refuse channels whose names contain the modalities in another order than the task's."""
    if len(found) != len(modalities) or len(found) < 2:
        return
    told = [[name for name in modalities if matches(name, channel.names)] for channel in found]
    order = [names[0] for names in told if len(names) == 1]
    if sorted(order) == sorted(modalities) and order != list(modalities):
        raise InputError(
            f"{folder}: channels by {BY_NAME} are {', '.join(channel.shown for channel in found)}, which "
            f"give {', '.join(order)}; wanted {', '.join(modalities)}; channels=modality uses these names"
        )


def _refuse_other_count(folder: Path, found: Sequence[Channel], modalities: Sequence[str]) -> None:
    """Refuse more or fewer series than channels, and more series and files together.

    Only files, not series, can hold several channels.
    """
    series = [channel for channel in found if isinstance(channel.source, dicom.Series)]
    too_many, too_few = len(found) > len(modalities), len(series) == len(found) < len(modalities)
    if modalities and series and (too_many or too_few):
        listed = "; ".join(_counted(channel) for channel in found[:_NAMED])
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        what = "DICOM series" if len(series) == len(found) else "DICOM series and files"
        raise InputError(
            f"{folder}: got {len(found)} {what}, wanted {len(modalities)} ({', '.join(modalities)}): "
            f"{listed}{more}; choose with channels=[<word of a description>, ...], or separate the folders"
        )


def _counted(channel: Channel) -> str:
    source = channel.source
    return channel.shown if isinstance(source, Path) else f"{channel.shown} ({len(source.files)} files)"
