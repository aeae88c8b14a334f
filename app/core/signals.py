"""Signals by which a terminal, a queue or another program asks a command to end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Besides SIGINT: what queues send before they kill a job whose time is over, or a closed terminal."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Let these signals end the block as Ctrl-C does, except those that something else handles or ignores."""
    previous = {number: signal.getsignal(number) for number in _unhandled()}
    for number in previous:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ending_signals() -> tuple[int, ...]:
    """Return SIGINT, SIGTERM and the others by which this process is asked to end; none in other threads."""
    if threading.current_thread() is not threading.main_thread():  # which may not handle signals
        return ()
    return (signal.SIGINT, signal.SIGTERM, *(n for n in _unhandled() if n != signal.SIGTERM))


def _unhandled() -> list[int]:
    if threading.current_thread() is not threading.main_thread():
        return []
    known = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) in (signal.SIG_DFL, _interrupt)]


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
