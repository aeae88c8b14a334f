"""Temporary files say whose they are, and those of dead processes are removed."""

import os
import subprocess
import sys
from pathlib import Path

from app.core.files import write_text
from app.core.temporary import remove_leftovers, temporary_beside, temporary_folder

LEAVE = """
import sys
from pathlib import Path
from app.core.temporary import temporary_beside
temporary_beside(Path(sys.argv[1])).write_text("half")
folder = temporary_beside(Path(sys.argv[1]))
folder.mkdir()
(folder / "inside").write_text("half")
"""


def leave(path: Path) -> set[str]:
    """The names of a file and a folder that a process which has ended left beside `path`."""
    subprocess.run([sys.executable, "-c", LEAVE, str(path)], check=True)
    return {found.name for found in path.parent.iterdir() if found.name.startswith(".")}


def test_what_a_dead_process_left_is_removed_by_the_next_that_writes_there(tmp_path: Path) -> None:
    assert len(leave(tmp_path / "figures.csv")) == 2
    ours, hidden = temporary_beside(tmp_path / "figures.csv"), tmp_path / ".hidden.csv"
    for path in (ours, hidden):
        path.write_text("half")
    write_text(tmp_path / "other.txt", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {ours.name, ".hidden.csv", "other.txt"}


def test_of_other_machines_only_what_is_old_is_removed(tmp_path: Path) -> None:
    names = leave(tmp_path / "scan.nii.gz")
    assert all(name.endswith(".scan.nii.gz") for name in names)
    elsewhere = [tmp_path / f".{'0' * 8}{name[9:]}" for name in sorted(names)]
    for name, path in zip(sorted(names), elsewhere, strict=True):
        (tmp_path / name).rename(path)
    old = tmp_path.stat().st_mtime - 90_000
    os.utime(elsewhere[0], (old, old))
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == elsewhere[1:]


def test_a_temporary_folder_is_gone_unless_it_was_renamed(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "new" / "case") as folder:
        (folder / "array").write_text("whole")
        folder.rename(tmp_path / "new" / "case")
    with temporary_folder(tmp_path / "new" / "other"):
        pass
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["case"]


def test_a_name_that_is_as_long_as_a_name_can_be_has_room_for_a_temporary_one(tmp_path: Path) -> None:
    """The label map of such a scan could not be written, after the network had run."""
    path = tmp_path / f"{'ü' * 124}.nii.gz"  # 255 bytes
    write_text(path, "whole")
    assert path.read_text(encoding="utf-8") == "whole"
    assert temporary_beside(path).name.endswith("ü.nii.gz")
