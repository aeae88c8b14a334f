"""Links in folders of scans: they are followed, except to nothing or back to a folder that they lie in."""

import os
from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """Return all files in a folder and its subfolders, sorted, except hidden ones."""
    found: list[Path] = []
    for here, inside, names in os.walk(folder, followlinks=True):
        place = Path(here)
        inside[:] = [name for name in inside if not leads_back(place / name)]
        found += [place / name for name in names if name[0] != "." and (place / name).is_file()]
    return sorted(found)


def leads_back(folder: Path) -> bool:
    """Return whether a folder is a link to a folder that it lies in."""
    return folder.parent.resolve().is_relative_to(folder.resolve())


def leads_nowhere(path: Path) -> bool:
    """Return whether a path is a link to a file that is missing."""
    return path.is_symlink() and not path.exists()
