"""Data sets that have moved since a run recorded their folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.errors import InputError

HOW = "set paths.data or task.folder to where the data set is now"


@dataclass(frozen=True)
class Moved:
    """The current folders of data sets, as given on the command line; None or empty if not given."""

    data: Path | None = None
    """The folder of all data sets, paths.data."""
    folders: tuple[Path, ...] = ()
    """The folders of this data set, task.folder; they override `data`."""

    def folders_of(self, before: Sequence[Path], data_before: Path | None) -> tuple[Path, ...]:
        """Return the current folders of a data set that was at `before`, when paths.data was `data_before`.

        Raises:
            InputError: another number of folders is given; or only `data` is given, and a folder was not
                below `data_before` and no longer exists.
        """
        if self.folders and len(self.folders) != len(before):
            raise InputError(f"task.folder: got {len(self.folders)} folders, the run used {len(before)}")
        return self.folders or tuple(self._folder(folder, data_before) for folder in before)

    def _folder(self, before: Path, data_before: Path | None) -> Path:
        if self.data is None:
            return before
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
        found = self.data_sets(split, config) if files and self != Moved() else []
        return {case: _moved(entry, found) for case, entry in files.items()} if found else files

    def data_sets(
        self, split: Mapping[str, Any], config: Mapping[str, Any] | None
    ) -> list[tuple[Path, Path]]:
        """Return where the folders of a split.json were, and where they are now; none if no file says so."""
        settings = config or {}
        before = listed_paths(split.get("folder") or (settings.get("task") or {}).get("folder"))
        data = (settings.get("paths") or {}).get("data")
        return list(zip(before, self.folders_of(before, None if data is None else Path(data)), strict=True))


UNMOVED = Moved()


def listed_paths(value: Any) -> tuple[Path, ...]:
    """Return the paths that a setting such as `task.folder` names: one, or a list of them; none for None."""
    if value is None:
        return ()
    return tuple(Path(str(each)) for each in (value if isinstance(value, list | tuple) else [value]))


def _moved(files: Mapping[str, Any], places: Sequence[tuple[Path, Path]]) -> dict[str, Any]:
    def place(value: str) -> str:
        path = Path(value)
        for before, now in places:
            if path.is_relative_to(before):
                return str(now / path.relative_to(before))
        return value

    return {kind: place(value) if kind in ("image", "label") else value for kind, value in files.items()}
