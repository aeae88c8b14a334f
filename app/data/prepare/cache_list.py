"""The contents of a folder of caches: prepared cases by task and settings, and their removal."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.core.errors import InputError
from app.core.files import read_json, remove

SETTINGS = "settings.json"


@dataclass(frozen=True)
class CacheEntry:
    """The prepared cases of one task and one choice of settings."""

    folder: Path
    format: int | None
    """Format of the arrays; None in caches of versions that did not record it."""
    spacing: tuple[float, ...] | None
    """Spacing of the network's grid, (D, H, W) in mm; None if not recorded."""
    cases: int
    bytes: int
    changed: datetime

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.folder.parent.name


def list_caches(folder: Path) -> list[CacheEntry]:
    """Return all entries of a folder of caches, sorted by task, the newest first within a task."""
    tasks = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [
        entry
        for task in tasks
        for entry in sorted(_entries(task), key=lambda found: -found.changed.timestamp())
    ]


def choose_caches(entries: Sequence[CacheEntry], selection: str, format_now: int) -> list[CacheEntry]:
    """Return the entries of a selection: all, earlier (formats other than `format_now`), or a task's.

    Raises:
        InputError: no entry is of a task with that name.
    """
    if selection == "all":
        return list(entries)
    if selection == "earlier":
        return [entry for entry in entries if entry.format != format_now]
    chosen = [entry for entry in entries if entry.task == selection]
    if not chosen:
        tasks = ", ".join(dict.fromkeys(entry.task for entry in entries)) or "none"
        raise InputError(
            f"cache.delete: got {selection!r}, wanted all, earlier or a task that has a cache: {tasks}"
        )
    return chosen


def clear_caches(entries: Sequence[CacheEntry]) -> int:
    """Delete the entries and return the bytes they took."""
    for entry in entries:
        remove(entry.folder)
    return sum(entry.bytes for entry in entries)


def _entries(task: Path) -> list[CacheEntry]:
    return [_entry(folder) for folder in task.iterdir() if folder.is_dir() and folder.name[0] != "."]


def _entry(folder: Path) -> CacheEntry:
    path = folder / SETTINGS
    facts = read_json(path) if path.is_file() else {}
    stats = list(_stats(folder))
    changed = max((stat.st_mtime for stat in stats), default=folder.stat().st_mtime)
    return CacheEntry(
        folder=folder,
        format=facts.get("format"),
        spacing=tuple(facts["spacing"]) if "spacing" in facts else None,
        cases=sum(1 for case in folder.iterdir() if case.is_dir() and case.name[0] != "."),
        bytes=sum(stat.st_size for stat in stats),
        changed=datetime.fromtimestamp(changed, tz=UTC),
    )


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Yield size and time of each file below a folder, except files that vanish while another run works."""
    for here, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield Path(here, name).stat()
