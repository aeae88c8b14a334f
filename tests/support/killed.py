"""Commands that are killed at a moment of choice, each in a session of its own."""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.support.all_imported"])
"""Commands are forked from a process that has imported everything: kills meet work instead of imports."""
_LOOK = 0.05  # seconds between looks at how long it has worked
PATIENCE = 900  # seconds until a command is taken to hang


class Command:
    """A running command of `run.py`; what it prints goes to `log`."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._process = FORKSERVER.Process(target=_run, args=(list(words), str(log)))
        self._before = 0
        self._before = len(self.printed())
        self.cpu_seconds = 0.0
        self._process.start()

    @property
    def session(self) -> int:
        """The number of its session, of which all processes are that it starts."""
        assert self._process.pid is not None
        return self._process.pid

    def ends_within(self, cpu_seconds: float) -> bool:
        """Wait until it has used that much time of a CPU, with its children; return whether it has ended."""
        while self._process.exitcode is None and self.cpu_seconds < cpu_seconds:
            self._process.join(_LOOK)
            self._look()
        return self._process.exitcode is not None

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            ours = psutil.Process(self.session)
            times = [process.cpu_times() for process in (ours, *ours.children(recursive=True))]
            ended = times[0].children_user + times[0].children_system
            self.cpu_seconds = max(self.cpu_seconds, ended + sum(each.user + each.system for each in times))

    def kill(self, number: signal.Signals, *, whole: bool) -> None:
        """Send a signal to its process, or to the `whole` session as a terminal does."""
        with suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(self.session, number)

    def exit_code(self, patience: float = PATIENCE) -> int:
        """Wait for its end; `patience` does not run out on a machine that is merely slow.

        Raises:
            TimeoutError: it has used no time of a CPU for that many seconds, or more than that in all.
        """
        used, since = self.cpu_seconds, time.monotonic()
        while self._process.exitcode is None:
            self._process.join(_LOOK)
            self._look()
            if self.cpu_seconds > used:
                used, since = self.cpu_seconds, time.monotonic()
            if used > patience or time.monotonic() - since > patience:
                os.killpg(self.session, signal.SIGKILL)
                self._process.join()
                raise TimeoutError(f"still running after {used:.0f} s of a CPU, see {self.log}")
        return self._process.exitcode

    def printed(self) -> list[str]:
        """Return the lines it has printed, without those of commands before with the same log."""
        whole = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return whole.splitlines()[self._before :]


def left_running(sessions: Sequence[int], *, wait: float = 10) -> list[str]:
    """Return the processes of these sessions that have not ended after `wait` seconds, as text."""
    for _ in range(max(1, round(wait * 10))):
        found = [process for process in psutil.process_iter() if _session(process) in sessions]
        alive = [process for process in found if process.status() != psutil.STATUS_ZOMBIE]
        if not alive:
            return []
        time.sleep(0.1)
    return [f"{process.pid} {' '.join(process.cmdline())[:100]}" for process in alive]


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _run(words: list[str], log: str) -> None:
    """Be `python run.py <words>`, in a new session."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["run.py", *words]
    try:
        runpy.run_path("run.py", run_name="__main__")
    finally:  # as at the end of Python, which a forked process does not come to
        atexit._run_exitfuncs()
