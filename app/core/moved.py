"""Data sets that have moved since a run recorded where they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.errors import InputError

HOW = "set paths.data or task.folder to where the data set is now"


@dataclass(frozen=True)
class Moved:
    """Where data sets are now, as a command says; None for what it does not say."""

    data: Path | None = None
    """The folder of data sets, paths.data."""
    folder: Path | None = None
    """The data set itself, task.folder; it goes before `data`."""

    def folder_of(self, before: Path, data_before: Path | None) -> Path:
        """Return where a data set is now that was at `before`, below `data_before`.

        Raises:
            InputError: only the folder of data sets is given, and this one was not below it and is not there.
        """
        if self.folder is not None or self.data is None:
            return before if self.folder is None else self.folder
        if data_before is not None and before.is_relative_to(data_before):
            return self.data / before.relative_to(data_before)
        if before.is_dir():
            return before
        raise InputError(f"paths.data: the data set {before} was not below {data_before}; set task.folder")

    def files(self, split: Mapping[str, Any], config: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the files by case that split.json records, where they are now; `config` is the run's.

        Runs from older versions have no data set in split.json: theirs is that of their configuration.
        """
        files: dict[str, Any] = dict(split.get("files") or {})
        if self == Moved() or not files:
            return files
        settings = config or {}
        before = split.get("folder") or (settings.get("task") or {}).get("folder")
        data = (settings.get("paths") or {}).get("data")
        if before is None:
            return files
        now = self.folder_of(Path(before), None if data is None else Path(data))
        return {case: _moved(found, Path(before), now) for case, found in files.items()}


UNMOVED = Moved()


def _moved(files: Mapping[str, str], before: Path, now: Path) -> dict[str, str]:
    def place(value: str) -> str:
        path = Path(value)
        return str(now / path.relative_to(before)) if path.is_relative_to(before) else value

    return {kind: place(value) if kind in ("image", "label") else value for kind, value in files.items()}
