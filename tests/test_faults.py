"""A disk that fills, a folder that cannot be written and data that vanish, in each phase of several modes.

Each ends the command with one line that names the file; the same command then continues to the end.
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.core import files, run_folder
from app.core.files import read_json
from app.core.lock import LOCK
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
    lines: list[str] = []

    def sync(path: Path) -> None:
        usual(path)
        if path.name.endswith(run_folder.LAST) and data.is_dir():
            data.rename(gone)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_sync", sync)
        for _ in range(2):
            capfd.readouterr()
            assert begin(place, "vanished", patch) == 1
            (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
            lines.append(line)
    assert all(str(data) in line for line in lines)
    assert f"train.resume={place / 'vanished' / 'run'}" in lines[0] and "task.folder" in lines[1]
    gone.rename(data)
    assert begin(place, "vanished", monkeypatch) == 0
    assert read_checkpoint(place / "vanished" / "run" / run_folder.LAST).digest == whole


def predict(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a prediction of all scans with the network of the training without faults."""
    model = f"predict.model={place / 'whole' / 'run'}"
    places = (f"predict.input={place / 'Task90_Blobs' / 'imagesTr'}", f"predict.output={place / name}")
    return call_here("mode=predict", model, *places, "threads=1", "sliding=fast", monkeypatch=monkeypatch)


def sweep(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a sweep of one job."""
    plan = f"plan.file={place / 'whole' / 'run' / run_folder.PLAN}"
    places = (f"task.folder={place / 'Task90_Blobs'}", f"paths.cache={place / 'whole' / 'cache'}")
    words = ("--multirun", "seed=0", *TINY, "folds=4", plan, *places, f"paths.sweep={place / name}")
    return call_here(*words, monkeypatch=monkeypatch)


def search(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a race that begins in a folder or continues there."""
    plan = f"plan.file={place / 'whole' / 'run' / run_folder.PLAN}"
    places = (f"task.folder={place / 'Task90_Blobs'}", f"paths.cache={place / 'whole' / 'cache'}", plan)
    words = (*TINY, "folds=4", "train.steps=12", *places, f"paths.run={place / name}", "train.resume=auto")
    return call_here("mode=search", *words, monkeypatch=monkeypatch)


MODES = {"predict": predict, "sweep": sweep}


@pytest.mark.parametrize(
    ("mode", "file", "number"),
    [
        ("predict", "nii.gz", errno.ENOSPC),
        ("predict", "manifest.json", errno.EROFS),
        ("sweep", "job.json", errno.EROFS),
        ("sweep", "last.pt", errno.ENOSPC),
        ("sweep", "results.csv", errno.EDQUOT),
    ],
)
def test_predictions_and_sweeps_name_what_cannot_be_written_and_continue(
    mode: str,
    file: str,
    number: int,
    place: Path,
    whole: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for module in ("app.cli.modes.train", "app.cli.sweep.collect"):  # pages are drawn in other tests
        monkeypatch.setattr(f"{module}.write_report", lambda *_, **__: None)
    capfd.readouterr()
    name = f"{mode}-{file}"
    with monkeypatch.context() as patch:
        patch.setattr(files, "_sync", failing(file, number))
        assert MODES[mode](place, name, patch) == 1
    told = "".join(capfd.readouterr())
    lines = [line for line in told.splitlines() if file in line and os.strerror(number) in line]
    assert lines and "Traceback" not in told
    assert MODES[mode](place, name, monkeypatch) == 0
    assert_whole(mode, place / name)


def test_a_race_that_cannot_write_says_what_is_kept_and_continues(
    place: Path, whole: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(files, "_sync", failing("0-1.pt", errno.ENOSPC))
        assert search(place, "race", patch) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    for token in ("0-1.pt", os.strerror(errno.ENOSPC), " 1 of ", f"train.resume={place / 'race'}"):
        assert token in line  # one network was recorded before
    assert search(place, "race", monkeypatch) == 0
    assert (place / "race" / run_folder.NETWORK).is_file()
    assert not [
        path for path in (place / "race").rglob("*") if path.name.startswith(".") or path.name == LOCK
    ]


@pytest.mark.parametrize("mode", MODES)
def test_data_that_vanish_in_predictions_and_sweeps_are_named_and_the_same_command_continues(
    mode: str, place: Path, whole: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """They go when the first result is written."""
    for module in ("app.cli.modes.train", "app.cli.sweep.collect"):
        monkeypatch.setattr(f"{module}.write_report", lambda *_, **__: None)
    data, gone, usual = place / "Task90_Blobs", place / "gone", files._sync
    results = {"predict": "nii.gz", "sweep": run_folder.LAST}

    def sync(path: Path) -> None:
        usual(path)
        if path.name.endswith(results[mode]) and data.is_dir():
            data.rename(gone)

    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(files, "_sync", sync)
        assert MODES[mode](place, f"{mode}-vanished", patch) == 1
    gone.rename(data)
    told = "".join(capfd.readouterr())
    assert str(data) in told and "Traceback" not in told
    assert MODES[mode](place, f"{mode}-vanished", monkeypatch) == 0
    assert_whole(mode, place / f"{mode}-vanished")


def assert_whole(mode: str, folder: Path) -> None:
    """Everything is there, and nothing else: no lock, no temporary file."""
    if mode == "predict":
        cases = read_json(folder / run_folder.MANIFEST)["cases"].values()
        assert len(cases) == 4 and {case["status"] for case in cases} == {"written"}
        assert len(list(folder.glob("*.nii.gz"))) == 4
    else:
        ends = [len(list(folder.glob(f"*/{name}"))) for name in (run_folder.LAST, run_folder.SUMMARY)]
        assert ends == [1, 1]
    assert not [path for path in folder.rglob("*") if path.name.startswith(".") or path.name == LOCK]
