"""One process at a time in a folder, on this machine and on others."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.core import lock
from app.core.errors import InputError
from app.core.lock import LOCK, Locked, locked
from tests.support.cli import no_room


def held_by(folder: Path, **changed: object) -> None:
    """Write the lock of this process, with other facts, as another process would have left it."""
    with locked(folder):
        facts = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    (folder / LOCK).write_text(json.dumps({**facts, "token": "other", **changed}), encoding="utf-8")


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        with pytest.raises(Locked) as error, locked(tmp_path / "run"):
            pass
        assert str(os.getpid()) in str(error.value) and str(tmp_path / "run") in str(error.value)
        assert (tmp_path / "run" / LOCK).is_file()  # the refused one has not released it
    assert list((tmp_path / "run").iterdir()) == []
    with locked(tmp_path / "run"):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from app.core.lock import locked\n"
    code += "with locked(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path.cwd())
    assert (tmp_path / LOCK).is_file()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text(encoding="utf-8"))["process"] == os.getpid()


def test_a_number_given_to_a_later_process_is_not_the_owner(tmp_path: Path) -> None:
    held_by(tmp_path, started=1.0)
    with locked(tmp_path):
        owner = json.loads((tmp_path / LOCK).read_text(encoding="utf-8"))
        assert owner["process"] == os.getpid() and owner["started"] != 1.0


def test_an_owner_on_another_machine_lives_while_its_file_is_touched(tmp_path: Path) -> None:
    held_by(tmp_path, space="elsewhere", host="node7")
    over = threading.Event()
    keeper = threading.Thread(target=lock._touch, args=(tmp_path / LOCK, over, 0.05))
    keeper.start()
    with pytest.raises(Locked, match="node7"), locked(tmp_path, patience=5):
        pass
    over.set()
    keeper.join()
    with locked(tmp_path, patience=0.2):  # it is touched no more
        pass


def test_a_lock_that_was_taken_over_meanwhile_is_put_back(tmp_path: Path) -> None:
    held_by(tmp_path)
    dead = lock._read(tmp_path / LOCK)
    held_by(tmp_path / "other", process=1)
    (tmp_path / "other" / LOCK).replace(tmp_path / LOCK)
    lock._remove_dead(tmp_path / LOCK, dead)
    assert lock._read(tmp_path / LOCK) is not None


@pytest.mark.parametrize("lost", ["moved", "removed", "taken"])
def test_a_folder_that_is_lost_while_it_is_locked_is_an_error(tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match=re.escape(str(folder))), locked(folder):
        if lost == "moved":
            folder.rename(tmp_path / "elsewhere")
        elif lost == "removed":
            shutil.rmtree(folder)
        else:
            facts = json.loads((folder / LOCK).read_text(encoding="utf-8"))
            (folder / LOCK).write_text(json.dumps({**facts, "token": "other"}), encoding="utf-8")
    assert (folder / LOCK).exists() == (lost == "taken")  # it is not ours to release


def test_a_full_disk_leaves_neither_a_lock_nor_a_part_of_one(tmp_path: Path) -> None:
    """Also on a file system without hard links, where the lock is a copy."""
    folder, written = tmp_path / "run", tmp_path / "written"
    written.write_text("content", encoding="utf-8")
    with no_room():
        with pytest.raises(InputError) as error, locked(folder):
            pass
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            lock._create_slowly(folder / LOCK, written)
    assert str(folder / LOCK) in str(error.value) and not list(folder.iterdir())


def test_an_error_in_a_folder_that_is_lost_stays_the_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "run"):
        shutil.rmtree(tmp_path / "run")
        raise ZeroDivisionError


def test_of_many_processes_one_gets_the_lock(tmp_path: Path) -> None:
    held_by(tmp_path, started=1.0)
    code = "import sys, time; from pathlib import Path; from app.core.lock import locked\n"
    code += "with locked(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    others = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    refused: list[subprocess.Popen[str]] = []
    while len(refused) < 2:
        refused = [process for process in others if process.poll() is not None]
    outputs = [process.communicate()[0] for process in others]
    assert sorted(outputs) == ["", "", "mine\n"]
