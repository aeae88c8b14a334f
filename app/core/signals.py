"""Signals with which a terminal, a job queue or another program asks a command to end."""

import _thread
import atexit
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Signals besides SIGINT: job queues send them before they kill a job, and a terminal when it closes."""
_SOON = 0.05  # seconds after which a finalizer has returned


@contextmanager
def interruptible() -> Iterator[None]:
    """Let these signals end the block as Ctrl-C does, except those already handled or ignored.

    In a finalizer, such as a callback of a weak reference, Python prints and drops every exception. If a
    finalizer drops the interrupt, the block is interrupted again shortly afterwards.
    """
    previous = {number: signal.getsignal(number) for number in _unhandled()}
    for number in previous:
        signal.signal(number, _interrupt)
    over, usual = threading.Event(), sys.unraisablehook

    def dropped(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _thread.start_new_thread(_interrupt_again, (over,))  # a Thread needs locks that may be held
        else:
            usual(unraisable)

    sys.unraisablehook = dropped
    try:
        yield
    finally:
        over.set()
        sys.unraisablehook = usual
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_at_exit() -> None:
    """Ignore these signals once Python itself ends: the work is done, and they would print a traceback."""
    atexit.register(_ignore)


def ending_signals() -> tuple[int, ...]:
    """Return the signals that ask this process to end: SIGINT, SIGTERM and those of `interruptible`.

    Outside the main thread, where Python forbids signal handlers, return none.
    """
    if threading.current_thread() is not threading.main_thread():
        return ()
    return (signal.SIGINT, signal.SIGTERM, *(n for n in _unhandled() if n != signal.SIGTERM))


def _unhandled() -> list[int]:
    if threading.current_thread() is not threading.main_thread():
        return []
    known = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) in (signal.SIG_DFL, _interrupt)]


def _ignore() -> None:
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)


def _interrupt_again(over: threading.Event) -> None:
    time.sleep(_SOON)
    handled = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
    if not handled or over.is_set():
        return
    if sys.platform == "win32":
        _thread.interrupt_main(handled[0])
    else:  # ends a blocking wait too
        signal.pthread_kill(threading.main_thread().ident or 0, handled[0])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
