"""Sweeps from the command line: jobs that build on one another, fail, are killed, resumed and skipped."""

import csv
import html
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from app.cli.config.training import plan_configured
from app.cli.sweep.prepare import prepare_once
from app.core.lock import LOCK, locked
from app.core.sweep import read_record
from app.models.checkpoint import read_checkpoint
from app.train import step_speed
from app.train.timing import Subject, Timing
from tests.support.cli import call_here
from tests.support.config import TINY, composed
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e


def sweep(folder: Path, *overrides: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `python run.py -m`."""
    monkeypatch.setattr(sys, "argv", command(folder, *overrides)[1:])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path("run.py", run_name="__main__")
    return int(ended.value.code or 0)


def command(folder: Path, *overrides: str) -> list[str]:
    task = f"task.folder={folder / 'Task90_Blobs'}"
    places = (f"paths.cache={folder / 'cache'}", f"paths.sweep={folder / 'sweep'}")
    return [sys.executable, "run.py", "-m", *overrides, *TINY, task, *places]


def results(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "sweep" / "results.csv").open(newline="") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def progress(text: str) -> list[int]:
    """Return the whole numbers in the last line of progress on stderr, in order."""
    return [int(number) for number in re.findall(r"\b\d+\b", text.splitlines()[-1])]


def remarks_of_comparison(folder: Path) -> list[str]:
    """Return the remarks in the comparison of the sweep's report."""
    page = (folder / "sweep" / "report.html").read_text(encoding="utf-8")
    (section,) = re.findall(r'<section id="comparison">.*?</section>', page, re.DOTALL)
    return [html.unescape(text) for text in re.findall(r'<p class="remark">(.*?)</p>', section)]


def test_jobs_build_on_one_another_and_outlive_a_failure(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make_task()
    lines = {
        "dense": "op=conv3d",
        "broken": "op=cakes op.kernels=9d",
        "after": "op=cakes op.layout=@broken/layout.yaml",
        "mixed": "op=cakes",
        "again": "op=cakes op.layout=@mixed/layout.yaml",
    }
    given = [f'+sweep.jobs.{name}="{overrides}"' for name, overrides in lines.items()]
    before = set(Path("multirun").glob("*"))
    assert sweep(tmp_path, *given, monkeypatch=monkeypatch) == 1
    rows = results(tmp_path)
    assert set(Path("multirun").glob("*")) == before  # the folder that Hydra would make
    assert {name: row["state"] for name, row in rows.items()} == {
        **{"dense": "done", "broken": "failed", "after": "failed", "mixed": "done", "again": "done"},
    }
    assert "9d" in rows["broken"]["error"]
    assert "broken" in rows["after"]["error"]
    assert [path.name for path in (tmp_path / "sweep" / "after").iterdir()] == ["job.json"]  # it was not run
    assert rows["again"]["mean_dice"] == rows["mixed"]["mean_dice"] != rows["dense"]["mean_dice"]
    assert float(rows["mixed"]["difference"]) == pytest.approx(
        float(rows["mixed"]["mean_dice"]) - float(rows["dense"]["mean_dice"]), abs=1e-5
    )
    assert 'id="comparison"' in (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
    assert "9d" in (tmp_path / "sweep" / "broken" / "run.log").read_text(encoding="utf-8")
    assert sorted(progress(capfd.readouterr().err)[:3]) == [2, 3, 5]  # failed, done, all


@pytest.mark.parametrize(
    "words",
    [("paths.run={}",), ("--multirun", "seed=0,1", "paths.sweep={}"), ("mode=tune", "paths.sweep={}")],
)
def test_the_folder_of_another_command_is_refused(
    words: tuple[str, ...],
    tmp_path: Path,
    make_task: MakeTask,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if "mode=tune" in words:
        pytest.importorskip("optuna")
    folder, task = tmp_path / "used", f"task.folder={make_task(cases=2)}"
    with locked(folder):
        given = [word.format(folder) for word in words]
        assert (
            call_here(*given, *TINY, task, f"paths.cache={tmp_path / 'cache'}", monkeypatch=monkeypatch) == 1
        )
        assert [path.name for path in folder.iterdir()] == [LOCK]
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert str(folder) in line and str(os.getpid()) in line


def test_a_job_that_cannot_be_prepared_is_logged_and_left_to_fail_by_itself(
    tmp_path: Path, make_task: MakeTask, caplog: pytest.LogCaptureFixture
) -> None:
    places = (f"task.folder={make_task(cases=2)}", f"paths.cache={tmp_path / 'cache'}")
    prepare_once([composed("op=shift", "op.mode=wrong", *TINY, *places)], cores=1)
    (record,) = caplog.records
    message = record.getMessage()
    assert record.levelname == "WARNING" and "\n" not in message
    for token in ("mode", "wrong"):  # of op.mode=wrong
        assert token in message


def test_networks_are_timed_once_and_all_their_jobs_get_the_same_plan(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = (f"task.folder={make_task(cases=4)}", f"paths.cache={tmp_path / 'cache'}")
    timed = [word for word in TINY if word not in ("train=smoke", "threads=1")] + ["plan.minutes=0.5"]
    jobs = [composed(*timed, *places, word) for word in ("seed=0", "seed=1", "op=conv3d")]
    seconds = iter(range(1, 100))
    monkeypatch.setattr(step_speed, "_measure", lambda *_: 0.001 * next(seconds))
    before = torch.get_num_threads()
    prepare_once(jobs, cores=3)
    assert torch.get_num_threads() == before
    measured = next(seconds)
    monkeypatch.setattr(step_speed, "_measure", lambda *_: pytest.fail("measured again"))
    torch.set_num_threads(3)
    try:
        plans = [plan_configured(job).plan for job in jobs]
    finally:
        torch.set_num_threads(before)
    assert measured > 2 and plans[0] == plans[1]


def test_only_the_lines_chosen_are_run(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The lines that the chosen ones refer to are run too; all lines are listed and compared."""
    monkeypatch.setattr("app.cli.modes.train.write_report", lambda *_: None)
    make_task()
    lines = {"dense": "op=conv3d", "mixed": "op=cakes", "again": "op=cakes op.layout=@mixed/layout.yaml"}
    given = ["sweep.baseline=dense", *(f'+sweep.jobs.{name}="{line}"' for name, line in lines.items())]
    assert sweep(tmp_path, *given, "sweep.only=[mixd]", monkeypatch=monkeypatch) == 1
    (refused,) = capfd.readouterr().err.splitlines()
    for token in ("sweep.only", "mixd", "dense", "mixed", "again"):
        assert token in refused
    assert sweep(tmp_path, *given, "sweep.only=[again]", monkeypatch=monkeypatch) == 0
    rows = results(tmp_path)
    assert [(name, row["state"]) for name, row in rows.items()] == [
        *(("dense", "waiting"), ("mixed", "done"), ("again", "done")),
    ]
    assert not (tmp_path / "sweep" / "dense").exists() and rows["again"]["difference"] == ""
    (remark,) = remarks_of_comparison(tmp_path)
    assert "dense" in remark and remark in capfd.readouterr().out
    assert sweep(tmp_path, *given, "sweep.only=[dense]", monkeypatch=monkeypatch) == 0
    rows = results(tmp_path)
    assert [row["state"] for row in rows.values()] == ["done"] * 3 and rows["again"]["difference"]
    assert progress(capfd.readouterr().err)[:2] == [1, 1] and remarks_of_comparison(tmp_path) == []


def test_a_sweep_interrupted_while_it_timed_is_timed_by_the_same_command(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task()
    calls: list[list[str]] = []

    def time_networks(subjects: dict[str, Subject]) -> dict[str, Timing]:
        calls.append(list(subjects))
        if len(calls) == 1:
            raise KeyboardInterrupt
        return dict.fromkeys(subjects, Timing(forward_ms=2.0, step_ms=5.0))

    monkeypatch.setattr("app.cli.sweep.timings.time_networks", time_networks)
    codes = [sweep(tmp_path, "seed=0", "sweep.timed=true", monkeypatch=monkeypatch) for _ in range(3)]
    assert (codes, calls) == ([130, 0, 0], [["run"], ["run"]])
    assert results(tmp_path)["run"]["step_ms"] == "5"


def test_killed_sweep_continues_and_skips_what_is_done(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task()
    first, second = tmp_path / "sweep" / "seed-0", tmp_path / "sweep" / "seed-1"
    process = subprocess.Popen(
        command(tmp_path, "seed=0,1"), stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not (second / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert [record.state for path in (first, second) if (record := read_record(path))] == ["done", "running"]
    written = (first / "summary.json").stat().st_mtime_ns
    kept = read_checkpoint(second / "last.pt").training["history"]
    assert sweep(tmp_path, "seed=0,1", monkeypatch=monkeypatch) == 0
    assert (first / "summary.json").stat().st_mtime_ns == written
    resumed = read_checkpoint(second / "last.pt").training["history"]
    assert kept and resumed[: len(kept)] == kept  # the seconds too: these epochs were not trained again
    assert {row["state"] for row in results(tmp_path).values()} == {"done"}
    assert sweep(tmp_path, "seed=0,1", "train.steps=6", monkeypatch=monkeypatch) == 1
    assert (first / "summary.json").stat().st_mtime_ns == written
