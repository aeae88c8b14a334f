"""An interrupt ends a block wherever it comes, and prints nothing once the work is done."""

import os
import signal
import subprocess
import sys
import time
import weakref

import pytest

from app.core.signals import interruptible


class Thing:
    """An object that something can refer to weakly."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_a_finalizer_is_not_lost(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    def asked(_: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)  # until Python looks for signals, which is at once

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interruptible():
        thing = Thing()
        known = weakref.ref(thing, asked)
        del thing
        assert known() is None
        time.sleep(20)
    assert time.monotonic() - began < 10
    assert "Traceback" not in capfd.readouterr().err


def test_other_exceptions_of_finalizers_are_printed_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: seen.append(what.exc_type))
    with interruptible():
        thing = Thing()
        known = weakref.ref(thing, lambda _: 1 // 0)
        del thing
    assert known() is None and seen == [ZeroDivisionError]


AT_EXIT = """
import atexit, os, signal
from app.core.signals import ignore_at_exit
atexit.register(lambda: [os.kill(os.getpid(), number) for number in (signal.SIGINT, signal.SIGTERM)])
ignore_at_exit()
"""


def test_signals_are_ignored_while_python_ends() -> None:
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
