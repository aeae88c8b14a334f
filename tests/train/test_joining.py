"""The distance that joins the foreground of every training case."""

from pathlib import Path

import pytest

from app.core.task import Task
from app.data.sample.split import Folds, split_cases
from app.train import joining
from app.train.joining import learn_joining
from tests.support.networks import make_bench
from tests.support.volumes import MakeTask


def test_parts_are_dropped_only_where_enough_cases_show_none(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    cached = {case.id: held for case, held in zip(bench.task.cases, bench.cached, strict=True)}
    folds = Folds(None, 5, 0, None)

    def learnt(task: Task) -> float | None:
        return learn_joining(split_cases(task.cases, folds), task, bench.plan, cached)

    assert learnt(bench.task) is None  # three cases show little
    monkeypatch.setattr(joining, "_SURE", 3)
    assert learnt(bench.task) == 10
    monkeypatch.setattr(joining, "_SURE", 4)
    assert learnt(bench.task) is None
