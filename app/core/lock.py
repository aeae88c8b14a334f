"""One process at a time in a folder: a lock file that names its owner, on local and network file systems.

The file is created exclusively, which is atomic on NFS too, and touched every few seconds. On the machine of
its owner the process table tells whether the owner lives. Elsewhere the time of the last touch does: it is
compared with itself, never with a clock, so machines whose clocks differ agree. `flock` is not used: on some
network file systems it locks on one machine only, on others it fails.
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
PATIENCE = (
    90.0  # seconds without a touch after which an owner on another machine is dead: NFS caches for up to 60
)


class Locked(InputError):
    """Another process works in the folder."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock."""

    host: str
    space: str
    """Which process table its number is of: the boot of the machine and the namespace of a container."""
    process: int
    started: float
    """Seconds since 1970; a number that was given to a later process differs in it."""
    token: str
    """A random token that identifies this lock."""
    command: str = ""

    def __str__(self) -> str:
        """As a message names it."""
        return f"process {self.process} on {self.host}"


@contextmanager
def locked(folder: Path, *, beat: float = BEAT, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it is missing; take over the lock of a dead process.

    Raises:
        Locked: a living process holds it; names the process, its machine and its command.
        InputError: nothing can be written there.
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
        if holder is None:  # released or taken over just now, or written by a process that died in the middle
            holder = _settled(path)
        if holder is not None and _lives(path, holder, patience):
            raise Locked(
                f"{path.parent}: is in use by {holder}, which runs: {holder.command}; wait until it ends, "
                "or set another folder"
            )
        _remove_dead(path, holder)


def _create(path: Path, owner: Owner) -> bool:
    """Create the file with its content at once: a reader never sees a part of it."""
    written = temporary_beside(path)
    written.write_text(json.dumps(asdict(owner), indent=1), encoding="utf-8")
    try:
        os.link(written, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        return _create_slowly(path, written)
    finally:
        written.unlink(missing_ok=True)
    return True


def _create_slowly(path: Path, written: Path) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(written.read_text(encoding="utf-8"))
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> Owner | None:
    """The holder; None where there is none, or none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Owner(**{field.name: values[field.name] for field in fields(Owner)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _settled(path: Path) -> Owner | None:
    """The holder of a file that may be half written, after a second."""
    time.sleep(1)
    return _read(path)


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
    """When the file was last touched; opened first, as NFS asks the server only then."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


def _remove_dead(path: Path, dead: Owner | None) -> None:
    """Remove the lock of a dead owner, and no other: another process may have taken it over meanwhile."""
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
