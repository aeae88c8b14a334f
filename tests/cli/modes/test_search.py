"""mode=search from the command line to a layout: by gates, by chance, by evolution, and interrupted."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from app.core.layout import read_layout
from app.models.checkpoint import Checkpoint, read_checkpoint
from app.operators.mixed import Mixed
from app.search.evolve import Evolution, UnitKernels
from app.search.inherit import inherit_search
from app.search.search import choose, searched_sites
from app.train import run as training
from tests.support.cli import call_on_blobs
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

Call = Callable[..., int]
EVOLVE = ("mode=search", "search.method=evolve", "search.trials=26", "search.where=all")


@pytest.fixture
def call(tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A function that gives the exit code of `python run.py`."""
    make_task()

    return partial(call_on_blobs, tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("method", ["gates", "paper_cost", "paper_performance", "random"])
def test_each_method_ends_with_a_layout(
    method: str, tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert call("mode=search", f"search.method={method}", "search.where=all", f"paths.run={run}") == 0
    told = capsys.readouterr().out
    assert f"op.layout={run / 'layout.yaml'} plan.file={run / 'plan.yaml'}\n" in told
    assert (run / "plan.yaml").is_file()
    layout = read_layout(run / "layout.yaml")
    assert layout.provenance["method"] == method
    assert {name: sum(groups.values()) for name, groups in layout.convolutions.items()} == {
        **{"encoder.0.0": 4, "encoder.0.1": 4, "encoder.1.0": 8, "encoder.1.1": 8},
        **{"decoder.0.0": 4, "decoder.0.1": 4},
    }
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert method.startswith("paper") or summary["layout"]["share"] <= 0.3
    steps = {"gates": 4, "paper_cost": 4, "paper_performance": 8}
    assert summary.get("steps") == steps.get(method)


@pytest.mark.parametrize(
    "more",
    [(), ("train.ema_decay=null",), ("task.regions={blob: [1]}",)],
    ids=["labels", "no average", "regions"],
)
def test_what_evolution_judged_best_is_what_a_training_begins_with(
    more: tuple[str, ...], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[UnitKernels] = []
    usual = Evolution.run

    def noted(evolution: Evolution, *args: Any, **settings: Any) -> tuple[UnitKernels, list[float]]:
        best, judged = usual(evolution, *args, **settings)
        chosen.append(best)
        return best, judged

    monkeypatch.setattr(Evolution, "run", noted)
    run = tmp_path / "run"
    assert call(*EVOLVE, *more, f"paths.run={run}") == 0
    searched, layout = read_checkpoint(run / "last.pt"), Mixed(read_layout(run / "layout.yaml"))
    spec = replace(searched.network, encoder=layout, decoder=layout)
    target, source = spec.build(), searched.trained_network()
    inherit_search(target, spec, searched)
    choose(source, searched_sites(searched.network), chosen[0])
    x = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(target.eval()(x), source(x), atol=1e-4, rtol=1e-4)
    assert all(values.isfinite().all() for values in searched.weights.values())  # a search can continue


def test_an_interrupted_search_resumes_as_a_search(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert call(*EVOLVE, f"paths.run={whole}") == 0
    usual, first = training.write_checkpoint, iter([True])

    def interrupt(path: Path, checkpoint: Checkpoint) -> None:
        usual(path, checkpoint)
        if next(first, False):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(training, "write_checkpoint", interrupt)
        assert call(*EVOLVE, "train.epoch_steps=1", f"paths.run={stopped}") == 130
    assert f"train.resume={stopped}" in capfd.readouterr().err.splitlines()[-1]
    assert not (stopped / "layout.yaml").exists()
    assert call(f"train.resume={stopped}", "mode=train") == 1
    refused = capfd.readouterr().err.splitlines()[-1]
    for token in ("train.resume", "mode=train"):
        assert token in refused
    for words in ((), ("mode=search",)):
        assert call(f"train.resume={stopped}", *words) == 0
        assert (stopped / "layout.yaml").read_bytes() == (whole / "layout.yaml").read_bytes()
    assert json.loads((stopped / "summary.json").read_text(encoding="utf-8"))["trials"] == 26


def test_a_trained_network_shrinks_and_trains_on(
    tmp_path: Path, call: Call, capfd: pytest.CaptureFixture[str]
) -> None:
    dense, found, tuned = (tmp_path / name for name in ("dense", "found", "tuned"))
    assert call("op=conv3d", "fold=1", f"paths.run={dense}") == 0
    shrink = ("mode=search", "search.where=all", "search.budget=0.4", f"search.model={dense}")
    assert call(*shrink, "search.method=distill", f"paths.run={found}") == 0
    assert f"plan.file={found / 'plan.yaml'} train.init={found}\n" in capfd.readouterr().out
    layout = read_layout(found / "layout.yaml")
    assert (layout.provenance["method"], layout.provenance["fold"]) == ("distill", 1)
    summary = json.loads((found / "summary.json").read_text(encoding="utf-8"))
    assert summary["layout"]["share"] <= 0.4 and summary["steps"] == 0
    assert summary["mean_dice"] is not None and summary["answer_lost"] > 0
    assert summary["shrink_seconds"] >= 0
    assert all(summary[name] == summary["layout"][name] for name in ("params", "macs_per_patch"))
    used = ("op=cakes", f"op.layout={found / 'layout.yaml'}", f"train.init={found}", "fold=1")
    assert call(*used, f"paths.run={tuned}") == 0
    again = json.loads((tuned / "summary.json").read_text(encoding="utf-8"))
    assert (again["steps"], again["params"]) == (4, summary["params"])
    capfd.readouterr()
    assert call(*shrink, f"paths.run={tmp_path / 'refused'}") == 1
    refused = capfd.readouterr().err.splitlines()[-1]
    for token in ("search.model", "race", "distill", "importance"):
        assert token in refused
