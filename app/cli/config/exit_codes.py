"""Errors that the user can correct, printed in one line, and the exit codes of a command."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from app.cli.config.suggest import nearest_option
from app.core.errors import INTERRUPTED, NOT_BEGUN, InputError, Interrupted, interrupts_kept
from app.train.machine.torchrun import one_voice, process_count, process_rank

USER_ERRORS = (InputError, OmegaConfBaseException, InstantiationException)


_traceback_shown = ContextVar("traceback shown", default=False)


@contextmanager
def tracebacks(*, shown: bool) -> Iterator[None]:
    """Let `exit_codes` print the traceback of a user's error before its line, if `shown`."""
    before = _traceback_shown.set(shown)
    try:
        yield
    finally:
        _traceback_shown.reset(before)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Exit with 1 after a user's error, or 130 if interrupted, and print one line from one process only."""
    try:
        with interrupts_kept():
            yield
    except KeyboardInterrupt as note:
        end_interrupted(note)
    except USER_ERRORS as error:
        with one_voice() as speaks:
            if speaks and _traceback_shown.get():
                traceback.print_exc()
            if speaks:
                print(f"error: {in_one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        if process_count() == 1:
            raise
        with one_voice() as speaks:
            if speaks:
                traceback.print_exc()
        sys.exit(1)


def end_interrupted(note: KeyboardInterrupt) -> NoReturn:
    """Print in one line how to resume, from one process only, and exit."""
    if process_rank() == 0:
        print(note if isinstance(note, Interrupted) else NOT_BEGUN, file=sys.stderr)
    sys.exit(INTERRUPTED)


def in_one_line(error: Exception) -> str:
    """Return the first line of an error; if a value is not one of the options, with the nearest option.

    If an object could not be built, return its own error about a setting, or else the first two lines.
    """
    built = isinstance(error, InstantiationException)
    if built and isinstance(error.__cause__, InputError):
        return in_one_line(error.__cause__)
    line = " ".join(str(error).splitlines()[: 2 if built else 1])
    return line if "did you mean" in line else f"{line}{nearest_option(line)}"
