"""mode=compress from the command line: what it leaves behind, and that it is a run folder like any other."""

import csv
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from app.cli.config.optimizer import build_optimizer, build_schedule
from app.cli.modes import compress
from app.core.layout import read_layout
from app.models.checkpoint import Checkpoint, read_checkpoint
from app.train import run as training
from app.train.metrics_csv import MetricsRow
from app.train.training import Recipe
from tests.support.cli import call_on_blobs
from tests.support.config import composed
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e


def table(run: Path) -> dict[str, dict[str, str]]:
    with (run / "compression.csv").open(encoding="utf-8", newline="") as file:
        return {row["network"]: row for row in csv.DictReader(file)}


class _Noting:
    """A tracker that notes in which order it is called."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def follow(self, _history: Sequence[MetricsRow]) -> None:
        self._calls.append("follow")

    def finish(self) -> None:
        self._calls.append("finish")


def first_rate(run: Path) -> float:
    """Return the learning rate that the run's schedule began with."""
    optimizer = read_checkpoint(run / "last.pt").training["optimizer"]
    return float(optimizer["param_groups"][0]["initial_lr"])


def test_a_trained_network_is_decomposed_and_fine_tuned(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, trained, small = make_task(), tmp_path / "trained", tmp_path / "small"
    assert call_on_blobs(tmp_path, "op=conv3d", f"paths.run={trained}", monkeypatch=monkeypatch) == 0
    settings = ("mode=compress", f"compress.model={trained}", "compress.budget=0.6")
    more = ("compress.finetune=true", "compress.finetune_rate=0.5", "train.steps=2", f"paths.run={small}")
    followed: list[str] = []
    monkeypatch.setattr("app.cli.config.training.build_tracker", lambda *_, **_more: _Noting(followed))
    assert call_on_blobs(tmp_path, *settings, *more, monkeypatch=monkeypatch) == 0
    assert set(followed[:-1]) == {"follow"} and followed[-1] == "finish"  # a finished run takes nothing more

    rows, summary = table(small), json.loads((small / "summary.json").read_text(encoding="utf-8"))
    assert list(rows) == ["before", "after", "fine-tuned"]
    before, after, tuned = rows.values()
    original = json.loads((trained / "summary.json").read_text(encoding="utf-8"))
    assert int(before["macs_per_patch"]) == original["macs_per_patch"]
    assert float(before["mean_dice"]) == original["mean_dice"] == float(before["dice_blob"])
    share = int(after["macs_per_patch"]) / int(before["macs_per_patch"])
    assert 0.4 < share <= 0.6 and int(after["params"]) < int(before["params"])
    assert all(float(row["ms_per_patch"]) > 0 and 0 <= float(row["dice_blob"]) <= 1 for row in rows.values())
    assert (summary["op"], summary["steps"]) == ("conv3d-dwd", 2)
    assert (str(summary["params"]), str(summary["mean_dice"])) == (tuned["params"], tuned["mean_dice"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)

    rates = [first_rate(run) for run in (trained, small)]
    assert rates[1] == pytest.approx(0.5 * rates[0])
    ranks = yaml.safe_load((small / "ranks.yaml").read_text(encoding="utf-8"))
    assert "encoder.0.0" not in ranks and {entry["form"] for entry in ranks.values()} >= {"depthwise"}
    assert set(read_layout(small / "natural_layout.yaml").convolutions) == set(ranks)

    case = next((small / "predictions").iterdir()).name
    masks = tmp_path / "masks"
    scans = ("mode=predict", f"predict.input={data / 'imagesTr' / case}", f"predict.output={masks}")
    assert call_on_blobs(tmp_path, *scans, f"predict.model={small}", monkeypatch=monkeypatch) == 0
    ours, again = (nib.load(folder / case) for folder in (small / "predictions", masks))
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(again.dataobj))


@pytest.mark.parametrize("sweep", [False, True], ids=["alone", "in a sweep"])
def test_an_interrupted_compression_resumes_and_keeps_what_it_compares_with(
    sweep: bool, tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task()
    trained, usual, first = tmp_path / "trained", training.write_checkpoint, iter([True])
    assert call_on_blobs(tmp_path, "op=conv3d", f"paths.run={trained}", monkeypatch=monkeypatch) == 0

    def interrupt(path: Path, checkpoint: Checkpoint) -> None:
        usual(path, checkpoint)
        if next(first, False):
            os.kill(os.getpid(), signal.SIGINT)

    place = ("-m", f"paths.sweep={tmp_path / 'sweep'}") if sweep else (f"paths.run={tmp_path / 'small'}",)
    settings = ("mode=compress", f"compress.model={trained}", "compress.finetune=true", "train.epoch_steps=1")
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_checkpoint", interrupt)
        assert call_on_blobs(tmp_path, *place, *settings, monkeypatch=monkeypatch) == 130
    (small,) = (path.parent for path in tmp_path.rglob("compression.csv"))
    begun = table(small)
    again = (*place, *settings) if sweep else (f"train.resume={small}",)
    assert call_on_blobs(tmp_path, *again, monkeypatch=monkeypatch) == 0
    rows, summary = table(small), json.loads((small / "summary.json").read_text(encoding="utf-8"))
    assert list(rows) == ["before", "after", "fine-tuned"]
    assert {name: rows[name] for name in begun} == begun
    assert int(rows["before"]["params"]) > int(rows["after"]["params"]) == summary["params"]
    assert (summary["op"], summary["steps"]) == ("conv3d-dwd", 4)


@pytest.mark.parametrize("name", ["cosine", "onecycle", "poly"])
def test_fine_tuning_takes_its_share_of_the_rate_with_every_schedule(name: str) -> None:
    cfg = composed(f"schedule={name}")
    whole = Recipe(
        *(cast(Any, None),) * 4,
        make_optimizer=build_optimizer(cfg),
        make_schedule=build_schedule(cfg),
        device=torch.device("cpu"),
        seed=0,
        nsd_tolerance_mm=1.0,
    )
    first, slower = (_rates(recipe) for recipe in (whole, compress._slower(whole, rate=0.1)))
    assert slower == pytest.approx([0.1 * rate for rate in first]) and max(first) > 0


def _rates(recipe: Recipe) -> list[float]:
    """Return the learning rate of each of 20 steps."""
    optimizer = recipe.make_optimizer([torch.nn.Parameter(torch.ones(3))])
    schedule, found = recipe.make_schedule(optimizer, 20), []
    for _ in range(20):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_a_wrong_setting_is_one_line_with_key_and_value(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_task()
    for overrides, tokens in [
        ((), ["compress.model"]),
        (("compress.model=nowhere",), ["nowhere", "last.pt"]),
        (("compress.model=nowhere", "compress.method=prune"), ["compress.method", "prune", "dwd"]),
    ]:
        run = f"paths.run={tmp_path / 'run'}"
        assert call_on_blobs(tmp_path, "mode=compress", run, *overrides, monkeypatch=monkeypatch) == 1
        (line,) = capsys.readouterr().err.splitlines()
        for token in tokens:
            assert token in line
