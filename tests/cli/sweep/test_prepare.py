"""Sweeps that cannot end well are refused before their first job is launched."""

import json
from pathlib import Path

import pytest

from app.core.sweep import Sweep
from tests.support.cli import call_here
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e


def refusal(
    folder: Path, *words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> str:
    """Return the line that a command ends with, which launches nothing."""
    monkeypatch.setattr("app.cli.sweep.launch.Launching.launch", lambda *_: pytest.fail("launched"))
    assert call_here(*words, f"paths.sweep={folder / 'sweep'}", monkeypatch=monkeypatch) == 1
    assert not (folder / "sweep").exists()
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_a_baseline_that_no_group_is_called_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("sweep=rates", "optimizer.lr=0.001,0.002")
    line = refusal(tmp_path, *words, monkeypatch=monkeypatch, capfd=capfd)
    for token in (r"sweep.baseline", "'dense+lr-0.004'", "dense+lr-0.001", "mixed+lr-0.002"):
        assert token in line


def test_fold_all_on_one_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["a"], "validation": ["b"]}))
    line = refusal(tmp_path, "fold=all", f"split.file={path}", monkeypatch=monkeypatch, capfd=capfd)
    assert "fold: got all" in line and str(path) in line


@pytest.mark.parametrize("words", [("fold=all",), ("sweep=folds", "seed=0")])
def test_fold_all_is_each_fold_of_the_file(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folds.json").write_text(json.dumps([{"train": ["a"], "val": ["b"]}] * 3))
    found: list[Sweep] = []
    monkeypatch.setattr("app.cli.sweep.sweep._run_jobs", lambda _a, sweep, *_, **_b: found.append(sweep))
    given = (f"split.file={tmp_path / 'folds.json'}", f"paths.sweep={tmp_path / 'sweep'}")
    call_here(*words, *given, monkeypatch=monkeypatch)
    (sweep,) = found
    assert [entry.name.rpartition("fold-")[2] for entry in sweep.entries] == ["0", "1", "2"]


def test_a_loss_that_a_task_with_regions_does_not_use(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    task = ("task=decathlon", f"task.folder={make_task(cases=2)}", "task.regions={whole:[1]}")
    line = refusal(tmp_path, "sweep=recipe", *task, monkeypatch=monkeypatch, capfd=capfd)
    assert "focal: loss=dice_focal" in line and "region_loss" in line
