"""A lock file that lets one process at a time work in a folder, on local and network file systems.

The file names its owner. It is created exclusively, which is atomic on NFS too, and touched every few
seconds. On the owner's machine, the process table shows whether the owner still runs. On other machines, a
changed touch time shows it: two readings of that time are compared with each other, never with a clock, so
clocks may differ between machines. `flock` is not used: on some network file systems it locks on one machine
only, on others it fails.
"""

import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from app.core.errors import InputError
from app.core.files import writing
from app.core.process import is_running, process_table
from app.core.temporary import remove_leftovers, temporary_beside

LOCK = "lock.json"
BEAT = 10.0  # seconds between touches
# seconds without a touch after which an owner elsewhere counts as dead; NFS caches for up to 60
PATIENCE = 90.0


class Locked(InputError):
    """An error: another process works in the folder."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock."""

    host: str
    space: str
    """The process table that `process` belongs to: the boot of a machine and a container's namespace."""
    process: int
    started: float
    """Start of the process, seconds since 1970; tells it from a later process with the same number."""
    token: str
    """A random token that identifies this lock."""
    command: str = ""

    def __str__(self) -> str:
        """Return the owner as messages name it."""
        return f"process {self.process} on {self.host}"


@contextmanager
def locked(folder: Path, *, beat: float = BEAT, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of a folder while the block runs; create the folder if it is missing.

    The lock of a process that has ended is taken over.

    Raises:
        Locked: a running process holds it; the message names the process, its machine and its command.
        InputError: nothing can be written there, or the folder was moved or removed before the block ended.
    """
    path, owner = folder / LOCK, _ourselves()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    with writing(path):
        _acquire(path, owner, patience)
    over = threading.Event()
    keeper = threading.Thread(target=_touch, args=(path, over, beat), daemon=True)
    keeper.start()
    try:
        yield
        if _lost(path, owner):
            raise InputError(
                f"{folder}: was moved, removed or taken over while this command ran, so its files are "
                "incomplete; run the command again in a new folder"
            )
    finally:
        over.set()
        keeper.join()
        if _read(path) == owner:
            with suppress(OSError):
                path.unlink()


def _ourselves() -> Owner:
    process = psutil.Process()
    return Owner(
        host=socket.gethostname(),
        space=process_table(),
        process=process.pid,
        started=process.create_time(),
        token=uuid.uuid4().hex,
        command=" ".join(sys.argv),
    )


def _acquire(path: Path, owner: Owner, patience: float) -> None:
    while not _create(path, owner):
        holder = _read(path)
        if holder is None:  # just released or taken over, or its writer died before the file was complete
            time.sleep(1)
            holder = _read(path)
        if holder is not None and _lives(path, holder, patience):
            raise Locked(
                f"{path.parent}: is in use by {holder}, which runs: {holder.command}; wait until it ends, "
                "or set another folder"
            )
        _remove_dead(path, holder)


def _create(path: Path, owner: Owner) -> bool:
    """Create the file and its content in one step, so that no reader sees a partial file."""
    written = temporary_beside(path)
    try:
        written.write_text(json.dumps(asdict(owner), indent=1), encoding="utf-8")
        return _linked(written, path)
    finally:
        written.unlink(missing_ok=True)


def _linked(written: Path, path: Path) -> bool:
    """Give a file its second name, and return whether that was free."""
    try:
        os.link(written, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        return _create_slowly(path, written)
    return True


def _create_slowly(path: Path, written: Path) -> bool:
    content = written.read_text(encoding="utf-8")
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(content)
    except OSError:  # the disk is full
        path.unlink(missing_ok=True)
        raise
    return True


def _read(path: Path) -> Owner | None:
    """Return the owner that the file names; None if there is no file or it cannot be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Owner(**{field.name: values[field.name] for field in fields(Owner)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lost(path: Path, owner: Owner) -> bool:
    """Return whether the file is gone or another owner's; a file that cannot be read now does not count."""
    found = _read(path)
    with suppress(OSError):
        return found != owner if found else not path.exists()
    return False


def _lives(path: Path, holder: Owner, patience: float) -> bool:
    if holder.space == process_table():
        return is_running(holder.process, holder.started)
    first, waited = _touched(path), 0.0
    while waited < patience:
        time.sleep(min(1.0, patience))
        waited += min(1.0, patience)
        if _touched(path) != first:
            return _read(path) is not None
    return False


def _touched(path: Path) -> int | None:
    """Return the modification time in nanoseconds; open the file first, as NFS asks the server only then."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


def _remove_dead(path: Path, dead: Owner | None) -> None:
    """Remove the lock if it is still that of the dead owner; another process may have taken it over."""
    aside = temporary_beside(path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _read(aside) != dead:
        with suppress(OSError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)


def _touch(path: Path, over: threading.Event, beat: float) -> None:
    while not over.wait(beat):
        with suppress(OSError):
            os.utime(path)
