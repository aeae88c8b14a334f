"""The machine a process runs on: its cores, its memory, and how the C library hands memory out.

Works on Linux, macOS and Windows; each function says what it does where a system has no such call.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

_CONTAINER_LIMITS = (  # version 2 and version 1 of control groups
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT = 2**31 - 1  # bytes free at the end of the heap, at most
_TENSOR = 2**29  # bytes of one block; larger ones are rare and go back to the system


def usable_cores() -> tuple[int, ...]:
    """Return the numbers of the cores this process may use; all cores where a system has no affinity."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return tuple(sorted(process.cpu_affinity()))
    return tuple(range(os.cpu_count() or 1))


def keep_to_cores(cores: Sequence[int]) -> None:
    """Run this process on these cores only; no effect where a system has no affinity (macOS)."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        process.cpu_affinity(list(cores))


def memory_bytes() -> int:
    """Return the physical memory, or the container's limit where that is lower."""
    found = [int(psutil.virtual_memory().total)]
    for path in _CONTAINER_LIMITS:
        text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
        if text.isdigit():
            found.append(int(text))
    return min(found)


def resident_bytes() -> int:
    """Return the memory this process uses now."""
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """Return the most memory this process has used; on systems that do not count it, what it uses now."""
    try:
        import resource
    except ImportError:  # Windows
        used = psutil.Process().memory_info()
        return int(getattr(used, "peak_wset", used.rss))
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def keep_freed_memory() -> bool:
    """Let this process reuse freed memory instead of returning it; return whether the C library can.

    By default glibc asks the system for every tensor of over 32 MB and gives it back. Its pages are then
    zeroed at each first touch, which takes a third of the time of a forward pass through a small network.
    No effect except on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, _TENSOR) and mallopt(_TRIM_THRESHOLD, _KEPT))
