"""Temporary files and folders whose names identify the process that writes them.

A process that is killed cannot remove its temporary files. The next process that writes into the same folder
removes them: those of ended processes of this machine, and those of other machines unchanged for a day.
"""

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from app.core.digest import digest_of
from app.core.process import is_running, process_table

_NAME = re.compile(r"\.(?P<table>[0-9a-f]{8})-(?P<process>\d+)-(?P<started>\d+)-[0-9a-f]{8}\..+", re.DOTALL)
_DAY = 86_400  # seconds
_KEPT = 50  # letters, of up to four bytes, after the 37 bytes of the mark


def temporary_beside(path: Path) -> Path:
    """Return a new hidden path in the folder of `path`; it keeps the suffixes, which select the format.

    Of a long name only the end is kept, because file systems allow 255 bytes.
    """
    process = os.getpid()
    mark = f"{_table()}-{process}-{_started(process)}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f".{mark}.{path.name[-_KEPT:]}")


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield a new folder in the same parent as `beside`, to fill and rename; remove it if not renamed."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(beside.parent)
    folder = temporary_beside(beside)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that ended processes left in a folder; checks each folder once per process."""
    with suppress(OSError):
        for path in folder.iterdir():
            found = _NAME.fullmatch(path.name)
            if found is None or _in_use(path, found):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _in_use(path: Path, name: re.Match[str]) -> bool:
    if name["table"] == _table():
        return is_running(int(name["process"]), int(name["started"]) + 0.5)
    return time.time() - path.stat().st_mtime < _DAY


@cache
def _table() -> str:
    return digest_of(process_table())[:8]


@cache
def _started(process: int) -> int:
    """Return the second in which a process started; cached by number, as a forked process has another."""
    return int(psutil.Process(process).create_time())
