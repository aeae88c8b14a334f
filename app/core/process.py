"""Whether a process that left its mark in a folder still runs."""

import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil


@cache
def process_table() -> str:
    """Return a name of the table that process numbers here are of; other machines and containers differ."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux; elsewhere the name of the machine is all there is
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()]
        parts += [str(Path("/proc/self/ns/pid").readlink())]
    return " ".join(parts)


def is_running(process: int, started: float) -> bool:
    """Return whether the process of that number, started then (seconds since 1970), runs on this machine."""
    try:
        found = psutil.Process(process)
        alike = abs(found.create_time() - started) < 1
        return alike and found.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
