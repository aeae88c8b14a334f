"""The log of a run beside its results."""

import logging
from pathlib import Path

from app.core import run_folder
from app.core.files import writing


class _LogFile(logging.FileHandler):
    """A log on a full disk loses lines in silence: whoever cannot write results there says so."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out."""


def log_into(folder: Path) -> None:
    """Write what is logged from now on into the folder's run.log too, after what is there already.

    Raises:
        InputError: it cannot be written.
    """
    path = (folder / run_folder.LOG).resolve()
    root = logging.getLogger()
    if any(
        isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == path
        for handler in root.handlers
    ):
        return
    with writing(path):
        handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    root.addHandler(handler)
