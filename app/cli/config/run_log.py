"""The log file in a run folder."""

import logging
from pathlib import Path

from app.core import run_folder
from app.core.files import writing


class _LogFile(logging.FileHandler):
    """A log file that ignores write errors (e.g. a full disk), because writing results raises them anyway."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out."""


def log_into(folder: Path) -> None:
    """Append everything that is logged from now on to the folder's run.log.

    Raises:
        InputError: the file cannot be written.
    """
    path = (folder / run_folder.LOG).resolve()
    root = logging.getLogger()
    if any(
        isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == path
        for handler in root.handlers
    ):
        return
    with writing(path):
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    root.addHandler(handler)
