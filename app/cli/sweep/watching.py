"""A look at the files of running jobs, again and again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PERIOD = 1.0  # seconds between looks


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` from a thread until the block ends, and once more then."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_PERIOD):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        look()
