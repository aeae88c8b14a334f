"""Errors that the user can correct, the one line each is printed in, and the exit code of a command."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from app.core.errors import InputError, Interrupted
from app.train.machine.torchrun import one_voice, process_count, process_rank

INTERRUPTED = 130
USER_ERRORS = (InputError, OmegaConfBaseException, InstantiationException)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Exit 1 on the user's error, 130 when interrupted, with one line; of several processes one speaks."""
    try:
        yield
    except KeyboardInterrupt as note:
        end_interrupted(note)
    except USER_ERRORS as error:
        with one_voice() as speaks:
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
    """Print how to resume, in one line of one process, and exit."""
    if process_rank() == 0:
        print(note if isinstance(note, Interrupted) else "interrupted", file=sys.stderr)
    sys.exit(INTERRUPTED)


def in_one_line(error: Exception) -> str:
    """The first line; both lines of what could not be built, as the second says why."""
    lines = str(error).splitlines()
    return " ".join(lines[:2] if isinstance(error, InstantiationException) else lines[:1])
