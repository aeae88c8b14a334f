"""What a command takes as a whole: seconds, and the memory of its process and all processes it starts."""

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_EVERY = 0.1  # seconds between looks at the memory
_TOLD = 2000  # characters of a failed command's output


@dataclass(frozen=True)
class Spent:
    """What one run of a command took, its memory looked at ten times a second.

    `together` is the most bytes that all its processes held at once, pages they share counted once: the sum
    of PSS, which counts less of what programs outside share too, so the machine should be idle. `largest` is
    the most that any one of them ever held, by the kernel's own high-water mark.
    """

    seconds: float
    together: int
    largest: int


def spend(command: Sequence[str]) -> Spent:
    """Run a command to its end, on Linux.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    with tempfile.TemporaryFile() as printed:
        started, together, largest = time.perf_counter(), 0, 0
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        while process.poll() is None:
            family = list(_family(process.pid))
            together = max(together, sum(_bytes(pid, "smaps_rollup", "Pss") for pid in family))
            largest = max(largest, *(_bytes(pid, "status", "VmHWM") for pid in family))
            time.sleep(_EVERY)
        seconds = time.perf_counter() - started
        if process.returncode:
            printed.seek(0)
            told = printed.read().decode(errors="replace")[-_TOLD:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{told}")
    return Spent(seconds, together, largest)


def _family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    with suppress(OSError):  # it may end at any moment
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text(encoding="utf-8").split():
                yield from _family(int(child))


def _bytes(pid: int, file: str, field: str) -> int:
    """What a file of /proc says of a process; 0 when it has ended."""
    try:
        facts = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB", facts, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
