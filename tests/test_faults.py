"""A disk that fills, a folder that cannot be written and data that vanish, in each phase of a training.

Each ends the command with one line that names the file; the same command then continues to the end.
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.core import files, run_folder
from app.models.checkpoint import read_checkpoint
from tests.support.cli import call_here
from tests.support.config import TINY
from tests.support.volumes import write_blobs

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_blobs(folder, cases=4)
    return folder


def begin(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a training that begins in a folder or continues there."""
    places = (f"task.folder={place / 'Task90_Blobs'}", f"paths.cache={place / name / 'cache'}")
    words = (*TINY, "folds=4", *places, f"paths.run={place / name / 'run'}", "train.resume=auto")
    return call_here(*words, monkeypatch=monkeypatch)


@pytest.fixture(scope="module")
def whole(place: Path) -> Iterator[str]:
    """The digest of a training without faults."""
    with pytest.MonkeyPatch.context() as patch:
        assert begin(place, "whole", patch) == 0
    yield read_checkpoint(place / "whole" / "run" / run_folder.LAST).digest


def failing(name: str, number: int) -> Callable[[Path], None]:
    """What syncs files, except the first whose name ends so: the system refuses it."""
    usual, done = files._sync, []

    def sync(path: Path) -> None:
        if path.name.endswith(name) and not done:
            done.append(path)
            raise OSError(number, os.strerror(number))
        usual(path)

    return sync


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("digests.json", errno.EROFS),  # reading the data
        ("plan.yaml", errno.ENOSPC),  # planning
        ("geometry.json", errno.ENOSPC),  # preparing
        ("last.pt", errno.EDQUOT),  # training
        ("nii.gz", errno.ENOSPC),  # evaluating
        ("report.html", errno.EROFS),  # reporting
    ],
)
def test_what_cannot_be_written_is_one_line_and_the_same_command_continues(
    name: str,
    number: int,
    place: Path,
    whole: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(files, "_sync", failing(name, number))
        assert begin(place, name, patch) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert name in line and os.strerror(number) in line and "Traceback" not in line
    hidden = [path for path in (place / name).rglob("*") if path.name.startswith(".")]
    assert not hidden and not (place / name / "run" / "lock.json").exists()
    assert begin(place, name, monkeypatch) == 0
    assert read_checkpoint(place / name / "run" / run_folder.LAST).digest == whole


def test_data_that_vanish_are_one_line_and_the_run_resumes_once_they_are_back(
    place: Path, whole: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """They go when the last checkpoint is written: training needs prepared cases alone, evaluation scans."""
    data, gone, usual = place / "Task90_Blobs", place / "gone", files._sync

    def sync(path: Path) -> None:
        usual(path)
        if path.name.endswith(run_folder.LAST) and data.is_dir():
            data.rename(gone)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_sync", sync)
        assert begin(place, "vanished", patch) == 1
        capfd.readouterr()
        assert begin(place, "vanished", patch) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert str(data) in line and "task.folder" in line
    gone.rename(data)
    assert begin(place, "vanished", monkeypatch) == 0
    assert read_checkpoint(place / "vanished" / "run" / run_folder.LAST).digest == whole
