"""What went wrong in a way the user can mend: bad data, a bad setting, a missing file."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """The user's data or configuration is wrong.

    The message says what, got, wanted and where, in one line; the command line prints it without a
    traceback and exits with code 1. Every other exception is a defect of ours and keeps its traceback.
    """


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; everything worth keeping is on disk.

    No `Exception`: it stops a whole sweep, where an error stops one job.
    """


@contextmanager
def noting(doing: str) -> Iterator[None]:
    """Add to any error what was being done, for its traceback."""
    try:
        yield
    except Exception as error:
        error.add_note(doing)
        raise
