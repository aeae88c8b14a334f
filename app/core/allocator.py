"""How the C library hands out memory: for tensors that come and go, it should keep what it once had."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT = 2**31 - 1  # bytes free at the end of the heap, at most
_TENSOR = 2**29  # bytes of one block; larger ones are rare and go back to the system


def keep_freed_memory() -> bool:
    """Let this process reuse freed memory instead of returning it; whether the system's library can.

    Left alone, glibc asks the system for every tensor of over 32 MB and gives it back, whose pages are then
    filled with zeros each time they are touched anew: a third of the time of a forward pass through a small
    network. Elsewhere than on Linux with glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, _TENSOR) and mallopt(_TRIM_THRESHOLD, _KEPT))
