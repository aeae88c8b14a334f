"""The log of a run beside its results."""

import logging
from pathlib import Path

from app.core import run_folder


def log_into(folder: Path) -> None:
    """Write what is logged from now on into the folder's run.log too, after what is there already."""
    path = (folder / run_folder.LOG).resolve()
    root = logging.getLogger()
    if any(
        isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == path
        for handler in root.handlers
    ):
        return
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    root.addHandler(handler)
