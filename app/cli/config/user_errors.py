"""Errors that the user can mend, and the one line each is told in."""

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from app.core.errors import InputError

USER_ERRORS = (InputError, OmegaConfBaseException, InstantiationException)


def in_one_line(error: Exception) -> str:
    """The first line; both lines of what could not be built, as the second says why."""
    lines = str(error).splitlines()
    return " ".join(lines[:2] if isinstance(error, InstantiationException) else lines[:1])
