"""Data sets that have moved since a run recorded their folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.errors import InputError

HOW = "set paths.data or task.folder to where the data set is now"


@dataclass(frozen=True)
class Moved:
    """The current folders of data sets, as given on the command line; None if not given."""

    data: Path | None = None
    """The folder of all data sets, paths.data."""
    folder: Path | None = None
    """The folder of this data set, task.folder; it overrides `data`."""

    def folder_of(self, before: Path, data_before: Path | None) -> Path:
        """Return the current folder of a data set that was at `before`, when paths.data was `data_before`.

        Raises:
            InputError: only `data` is given, `before` was not below `data_before`, and it no longer exists.
        """
        if self.folder is not None or self.data is None:
            return before if self.folder is None else self.folder
        if data_before is not None and before.is_relative_to(data_before):
            return self.data / before.relative_to(data_before)
        if before.is_dir():
            return before
        raise InputError(f"paths.data: the data set {before} was not inside {data_before}; set task.folder")

    def files(self, split: Mapping[str, Any], config: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the files of each case in split.json with their current paths.

        `config` is the run's configuration: older versions recorded the folder only there.
        """
        files: dict[str, Any] = dict(split.get("files") or {})
        found = self.data_set(split, config) if files and self != Moved() else None
        return files if found is None else {case: _moved(entry, *found) for case, entry in files.items()}

    def data_set(
        self, split: Mapping[str, Any], config: Mapping[str, Any] | None
    ) -> tuple[Path, Path] | None:
        """Return where the data set of a split.json was, and where it is now; None if no file says that."""
        settings = config or {}
        before = split.get("folder") or (settings.get("task") or {}).get("folder")
        data = (settings.get("paths") or {}).get("data")
        if before is None:
            return None
        return Path(before), self.folder_of(Path(before), None if data is None else Path(data))


UNMOVED = Moved()


def _moved(files: Mapping[str, str], before: Path, now: Path) -> dict[str, str]:
    def place(value: str) -> str:
        path = Path(value)
        return str(now / path.relative_to(before)) if path.is_relative_to(before) else value

    return {kind: place(value) if kind in ("image", "label") else value for kind, value in files.items()}
