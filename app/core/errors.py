"""Errors that the user can correct (bad data, a bad setting, a missing file), and interruption."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """An error in the user's data or configuration.

    The message names, in one line, what is wrong, the value found, the value wanted and where. The command
    line prints it without a traceback and exits with code 1. Every other exception is a bug in this program
    and keeps its traceback.
    """


class Interrupted(KeyboardInterrupt):
    """A stop by the user, raised once the state of the run is on disk.

    It is not an `Exception`, so that it stops a whole sweep; an error stops only one job.
    """


INTERRUPTED = 130
"""Exit code of a command that is interrupted, as shells give it."""
NOT_BEGUN = "interrupted before it began; the same command starts again"
"""Message of a command that is interrupted before its mode runs."""


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise an interrupt again if an error of a library replaced it.

    An interrupt can leave a library's objects half made; an error in its `finally` then takes the interrupt's
    place, as in OmegaConf.

    Raises:
        KeyboardInterrupt: the error was raised while an interrupt was handled, and is not an `InputError`.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if _behind(error):
            raise KeyboardInterrupt from error
        raise


def _behind(error: BaseException | None) -> bool:
    """Return whether an error, or one during whose handling it was raised, is an interrupt."""
    if error is None or isinstance(error, KeyboardInterrupt):
        return error is not None
    return _behind(error.__cause__) or _behind(error.__context__)


@contextmanager
def noting(doing: str) -> Iterator[None]:
    """Add `doing`, the current activity, as a note to any error raised in the block; tracebacks show it."""
    try:
        yield
    except Exception as error:
        error.add_note(doing)
        raise
