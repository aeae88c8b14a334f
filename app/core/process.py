"""Identification of processes, to find out later whether the one that wrote a file still runs."""

import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil


@cache
def process_table() -> str:
    """Return a name for the process table of this machine or container; a process number is valid in one."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux only; other systems have just the host name
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()]
        parts += [str(Path("/proc/self/ns/pid").readlink())]
    return " ".join(parts)


def is_running(process: int, started: float) -> bool:
    """Return whether the process with this number and start time (seconds since 1970) runs here."""
    try:
        found = psutil.Process(process)
        alike = abs(found.create_time() - started) < 1
        return alike and found.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
