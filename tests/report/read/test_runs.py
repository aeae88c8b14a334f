"""Run folders as values."""

import json
from pathlib import Path

from app.report.read.runs import find_runs, read_runs
from tests.support.runs import make_run


def test_find_runs(tmp_path: Path) -> None:
    for name in ("b/run", "a", "a/.hydra", "c"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in ("b/run/summary.json", "a/config.yaml", "a/.hydra/config.yaml", "c/notes.txt"):
        (tmp_path / name).write_text("{}")
    assert find_runs(tmp_path) == [tmp_path / "a", tmp_path / "b" / "run"]
    assert find_runs(tmp_path / "a") == [tmp_path / "a"]


def test_an_unfinished_run_is_called_by_what_was_chosen(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "summary.json").unlink()
    chosen = {"task": "hippocampus", "model": "unet", "op": "cakes"}
    config = {
        "choices": chosen,
        "task": {"folder": "x"},
        "op": {"_target_": "app.operators.cakes.Cakes"},
        "seed": 3,
    }
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    (run,) = read_runs([folder])
    assert (run.summary.task, run.summary.model, run.summary.op, run.summary.seed) == (*chosen.values(), "3")
