"""mode=search by a race: from the command line to a network that trains, interrupted, and by chance."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.layout import read_layout
from app.models.checkpoint import read_checkpoint
from app.search import judge
from app.search.judge import Judge
from tests.support.cli import call_on_blobs
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

Call = Callable[..., int]
RACE = ("mode=search", "search.where=all", "search.budget=0.4", "search.networks=4", "search.steps=16")


@pytest.fixture
def call(tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A function that gives the exit code of `python run.py`."""
    make_task(cases=6)
    monkeypatch.setattr(judge, "JUDGED", 2)

    return partial(call_on_blobs, tmp_path, monkeypatch=monkeypatch)


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return found


def test_a_race_ends_with_a_network_that_trains(tmp_path: Path, call: Call) -> None:
    run, trained, warm = (tmp_path / name for name in ("run", "trained", "warm"))
    assert call(*RACE, "search.networks=6", "search.steps=24", f"paths.run={run}") == 0
    summary = summary_of(run)
    assert summary["race"]["networks"] == [6, 3, 2] and summary["race"]["steps"] == [1, 2, 4]
    assert len(summary["race"]["finalists"]) == len(summary["race"]["finalists_again"]) == 2
    assert -1 <= summary["race"]["spearman"] <= 1 and summary["train_seconds"] > 0
    assert summary["race"]["contestants"] == 7 and 0 in summary["race"]["numbers"]
    won = summary["race"]["lead"] >= summary["race"]["lead_error"]
    assert summary["race"]["winner"] in summary["race"]["numbers"]
    assert won == (summary["race"]["winner"] != 0)
    assert 0 < summary["layout"]["spent"]["macs"] <= 1
    found = read_layout(run / "network.yaml")
    assert found.network is not None and read_layout(run / "layout.yaml").network is None
    assert read_layout(run / "layout.yaml").convolutions == found.convolutions
    assert not list(run.glob("race/*.pt"))

    used = (f"op.layout={run / 'network.yaml'}", "op=cakes")
    assert call(*used, f"paths.run={trained}") == 0
    network = read_checkpoint(trained / "last.pt").network
    assert network.shape.widths == found.network.widths
    assert network.shape.strides == found.network.strides
    assert network.model == read_checkpoint(run / "last.pt").network.model
    assert (summary_of(trained)["params"], summary_of(trained)["macs_per_patch"]) == (
        summary["params"],
        summary["macs_per_patch"],
    )
    plan = f"plan.file={run / 'plan.yaml'}"
    assert call(*used, plan, "plan.patch=null", f"train.init={run}", f"paths.run={warm}") == 0
    assert json.loads((warm / "init.json").read_text(encoding="utf-8"))["fresh"] == {}


def test_an_interrupted_race_ends_as_one_that_was_not(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert call(*RACE, f"paths.run={whole}") == 0
    usual, calls = Judge.__call__, iter(range(100))

    def interrupt(one: Judge, *given: Any) -> float:
        if next(calls) in (1, 5):
            raise KeyboardInterrupt
        return usual(one, *given)

    monkeypatch.setattr(Judge, "__call__", interrupt)
    assert call(*RACE, f"paths.run={stopped}") == 130
    assert f"train.resume={stopped}" in capfd.readouterr().err.splitlines()[-1]
    assert not (stopped / "network.yaml").exists()
    assert call(f"train.resume={stopped}") == 130
    assert call(f"train.resume={stopped}") == 0
    for name in ("network.yaml", "layout.yaml"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    assert summary_of(stopped)["race"] == summary_of(whole)["race"]
    ours, theirs = (read_checkpoint(run / "last.pt").weights for run in (stopped, whole))
    assert all(bool((values == theirs[name]).all()) for name, values in ours.items())
    assert call(f"train.resume={stopped}") == 0
    assert (stopped / "network.yaml").read_bytes() == (whole / "network.yaml").read_bytes()


def test_a_network_whose_loss_is_not_finite_leaves(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, usual, calls = tmp_path / "run", Judge.__call__, iter(range(100))

    def judged(one: Judge, *given: Any) -> float:
        return usual(one, *given) if next(calls) else float("nan")

    monkeypatch.setattr(Judge, "__call__", judged)
    assert call(*RACE, f"paths.run={run}") == 0
    found = summary_of(run)["race"]
    assert found["lead"] is None and 0 not in found["numbers"] and len(found["numbers"]) == 2


def test_random_networks_are_drawn_from_the_same_space(tmp_path: Path, call: Call) -> None:
    drawn = []
    for seed in (0, 1):
        run = tmp_path / str(seed)
        settings = ("search.method=random", "search.space=network", f"seed={seed}", f"paths.run={run}")
        assert call(*RACE, *settings) == 0
        drawn.append(yaml.safe_load((run / "network.yaml").read_text(encoding="utf-8")))
        assert drawn[-1]["provenance"]["method"] == "random"
        assert 0 < drawn[-1]["provenance"]["spent"]["macs"] <= 1
    assert drawn[0]["convolutions"] != drawn[1]["convolutions"]


def test_kernels_alone_can_be_raced_for(tmp_path: Path, call: Call) -> None:
    run = tmp_path / "run"
    assert call(*RACE, "search.space=kernels", f"paths.run={run}") == 0
    assert read_checkpoint(run / "last.pt").network.shape.widths == (4, 8)
    assert call("op=cakes", f"op.layout={run / 'layout.yaml'}", f"paths.run={tmp_path / 'trained'}") == 0


def test_what_cannot_be_meant_is_one_line(
    tmp_path: Path, call: Call, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = [
        (("search.method=evolve", "search.space=network"), ("search.space", "evolve", "race")),
        (("model=segresnet", "op=conv3d"), ("race", "SegResNetModel", "unet")),
        (("search.networks=1",), ("search.networks", "1")),
    ]
    for number, (words, tokens) in enumerate(wrong):
        assert call(*RACE, *words, f"paths.run={tmp_path / str(number)}") == 1
        line = capfd.readouterr().err.splitlines()[-1]
        for token in tokens:
            assert token in line
