"""The machine a process runs on: its cores, its memory, and the memory settings of the C library.

The functions work on Linux, macOS and Windows; each docstring says what happens if a system lacks the call.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

_CONTAINER_LIMITS = (  # control groups version 2 and version 1
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameter numbers of mallopt(3)
_KEPT = 2**31 - 1  # most free bytes that the process keeps at the end of the heap
_TENSOR = 2**29  # bytes; larger blocks are rare and are returned to the system when freed


def usable_cores() -> tuple[int, ...]:
    """Return the numbers of the cores this process may use; all cores if the system has no affinity."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return tuple(sorted(process.cpu_affinity()))
    return tuple(range(os.cpu_count() or 1))


def keep_to_cores(cores: Sequence[int]) -> None:
    """Run this process on these cores only; no effect if the system has no affinity (macOS)."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        process.cpu_affinity(list(cores))


def memory_bytes() -> int:
    """Return the physical memory, or the container's limit if that is lower."""
    found = [int(psutil.virtual_memory().total)]
    for path in _CONTAINER_LIMITS:
        text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
        if text.isdigit():
            found.append(int(text))
    return min(found)


def resident_bytes() -> int:
    """Return the resident memory that this process uses now."""
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """Return the peak memory of this process; its current memory on systems that do not record the peak."""
    try:
        import resource
    except ImportError:  # Windows
        used = psutil.Process().memory_info()
        return int(getattr(used, "peak_wset", used.rss))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def keep_freed_memory() -> bool:
    """Let this process reuse freed memory instead of returning it; return whether this took effect.

    By default glibc requests memory from the system for every tensor over 32 MB and returns it afterwards.
    The system zeroes the new pages at their first use, which takes a third of the time of a forward pass
    through a small network. This function has an effect only on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, _TENSOR) and mallopt(_TRIM_THRESHOLD, _KEPT))
