"""A few kills at random; `python -m tests.benchmarks.kills` has many."""

import random
import sys
from pathlib import Path

import pytest

from app.models.checkpoint import write_checkpoint
from tests.benchmarks.kills import killed, left_behind, steps_kept, table
from tests.support.networks import make_bench
from tests.support.volumes import MakeTask
from tests.support.whole import broken_files


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_predictions_that_are_killed_continue_and_end_alike(tmp_path: Path) -> None:
    kills = list(killed(tmp_path, ["predict"], 3, random.Random(2)))
    assert len(kills) == 3, kills
    assert not [fault for kill in kills for fault in kill.faults]
    assert "predict" in table(kills)


def test_what_is_broken_or_left_is_found(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name, text in (("a.json", '{"half": '), ("b.csv", "1,2"), ("c.html", "<html>"), ("d.pt", "no")):
        (tmp_path / "run" / name).write_text(text)
    (tmp_path / "run" / ".half.json").write_text("{")
    (tmp_path / "run" / "lock.json").write_text("{}")
    assert [fault.split(":")[0] for fault in broken_files(tmp_path)] == [
        *("run/a.json", "run/b.csv", "run/c.html", "run/d.pt"),
    ]
    assert left_behind(tmp_path) == ["left behind: run/.half.json", "left behind: run/lock.json"]


def test_weights_that_no_training_continues_from_have_no_steps(make_task: MakeTask, tmp_path: Path) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    checkpoint = bench.checkpoint(bench.state())
    write_checkpoint(tmp_path / "trained" / "last.pt", checkpoint)
    write_checkpoint(tmp_path / "raced" / "last.pt", checkpoint.without_training())
    assert steps_kept(tmp_path) == {tmp_path / "trained" / "last.pt": 0}
