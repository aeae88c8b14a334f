"""Repeated calls of a function in the background while jobs run."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_PERIOD = 1.0  # seconds between calls


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` repeatedly from a thread until the block ends, and once more at the end.

    An error in the thread is dropped: if its cause stays, the last call raises it, unless the block raises.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_PERIOD):
            with suppress(Exception):
                look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except BaseException:
        _end(watcher, over)
        with suppress(Exception):
            look()
        raise
    _end(watcher, over)
    look()


def _end(watcher: threading.Thread, over: threading.Event) -> None:
    over.set()
    watcher.join()
