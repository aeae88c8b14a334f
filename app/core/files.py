"""Atomic writes: a file is written under a temporary name, synced, then renamed, so it is never partial."""

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from app.core.errors import InputError
from app.core.temporary import remove_leftovers, temporary_beside

log = logging.getLogger(__name__)
_STEPS: dict[str, tuple[int | None, ...]] = {
    "free disk space and run the same command again": (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        None,  # numpy's error for a short write has no errno
    ),
    "set a folder you can write to": (
        *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    ),
    "give it a shorter name": (errno.ENAMETOOLONG,),
    "another command writes there; run the same command again": (errno.ENOTEMPTY,),
    "check the disk or its connection, then run the same command again": (
        *(errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT),
    ),
}
_NEXT = {number: step for step, numbers in _STEPS.items() for number in numbers}
"""The next step after an error of writing, by the system's number of it."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of writing to `path` into one line with its reason.

    Raises:
        InputError: the disk is full or gone, the folder is read-only or a file, or the user lacks permission.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NEXT:
            raise
        why = f"is the disk full? {error}" if error.errno is None else os.strerror(error.errno)
        raise InputError(f"{path}: cannot be written ({why}); {_NEXT[error.errno]}") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` on success, remove it on failure.

    The temporary name keeps all suffixes of `path`, so writers that look at `.nii.gz` work.

    Raises:
        InputError: `path` cannot be written; an earlier file there is unchanged.
    """
    temporary = temporary_beside(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            log.debug("wrote %s, %d bytes", path, path.stat().st_size)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, or a folder with everything in it; it is not an error if there is none.

    Raises:
        InputError: it cannot be removed, for example because its folder is read-only.
    """
    with writing(path), suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with LF line ends on every system.

    Bytes of file names that are not UTF-8, as old archives have, are written as escapes.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented so that a person can read it; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """Read UTF-8 text; a byte order mark, which some Windows programs add, is left out.

    Raises:
        InputError: the file is missing, cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is not text in UTF-8; save the file with that encoding"
        ) from None


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    return _parsed(path, json.loads, "JSON")


def read_yaml(path: Path) -> Any:
    """Read YAML as plain values; nothing in it is executed.

    Raises:
        InputError: the file is missing or is not YAML.
    """
    return _parsed(path, yaml.safe_load, "YAML")


def _parsed(path: Path, parse: Callable[[str], Any], form: str) -> Any:
    """Return what `parse` makes of a text; too long numbers, wrong dates and deep nesting are errors too."""
    text = read_text(path)
    try:
        return parse(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid {form} ({' '.join(str(error).split())})") from None


def _sync(path: Path) -> None:
    """Wait until the file is on the disk; it is opened for writing, because Windows syncs only such files."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
