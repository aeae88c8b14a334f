"""Copies of prepared cases on a local disk, for faster reading of patches than from a shared file system."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from app.core.errors import InputError
from app.core.files import writing
from app.core.temporary import temporary_folder


def copy_to(scratch: Path, folders: Sequence[Path]) -> list[Path]:
    """Copy folders of prepared cases that are not yet under `scratch` to it; return the folders there.

    Raises:
        InputError: the disk has too little free space, or cannot be written.
    """
    copies = {folder: scratch.joinpath(*folder.parts[-3:]) for folder in folders}  # task, settings, case
    missing = [folder for folder in folders if not copies[folder].is_dir()]
    wanted = sum(file.stat().st_size for folder in missing for file in folder.iterdir())
    with writing(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(scratch).free
    if wanted > free:
        raise InputError(
            f"paths.scratch: {scratch}: got {free / 1e9:.2f} GB free, {len(missing)} prepared cases take "
            f"{wanted / 1e9:.2f} GB; set another disk, or null to read from paths.cache"
        )
    for folder in missing:
        _copy(folder, copies[folder])
    return list(copies.values())


def _copy(source: Path, target: Path) -> None:
    try:
        with writing(target), temporary_folder(target) as temporary:
            shutil.copytree(source, temporary, dirs_exist_ok=True)
            temporary.rename(target)
    except (InputError, OSError):
        if not target.is_dir():  # else another run has just copied it
            raise
