"""Whether the files that commands leave are whole: each is opened by what its suffix says."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml
from PIL import Image

from app.models.checkpoint import read_checkpoint


def broken_files(folder: Path) -> list[str]:
    """Return what cannot be read of the files at or below a folder, except temporary ones."""
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        check = next((check for suffix, check in _CHECKS.items() if path.name.endswith(suffix)), None)
        if hidden or check is None or not path.is_file():
            continue
        try:
            check(path)
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}")
    return found


def _database(path: Path) -> None:
    with sqlite3.connect(path) as study:
        assert study.execute("pragma integrity_check").fetchone() == ("ok",)


def _page(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), "cut off"


def _table(path: Path) -> None:
    assert path.read_text(encoding="utf-8").endswith("\n"), "cut off"


def _picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()


_CHECKS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".yaml": lambda path: yaml.safe_load(path.read_text(encoding="utf-8")),
    ".csv": _table,
    ".html": _page,
    ".pt": read_checkpoint,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".nii.gz": lambda path: np.asarray(nib.load(path).dataobj),
    ".png": _picture,
    ".db": _database,
}
