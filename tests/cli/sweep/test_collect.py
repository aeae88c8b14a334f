"""fold=all: one job per fold, one summary of all folds, and their networks as one ensemble."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from app.cli.sweep.collect import comparison_table
from app.core.errors import InputError
from app.core.sweep import Sweep, SweepJob, read_record, write_record, write_sweep
from app.infer.scan.run_models import list_runs
from app.infer.scan.segmenter import Segmenter
from app.models.checkpoint import read_checkpoint
from app.report.compare.comparison import Difference
from app.report.compare.groups import Comparison, Group
from app.report.read.runs import read_runs
from tests.support.cli import call_here
from tests.support.config import TINY
from tests.support.runs import make_run
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e


def test_all_folds_are_run_collected_and_averaged(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for place in ("app.cli.modes.train", "app.cli.sweep.collect"):  # pages are drawn in other tests
        monkeypatch.setattr(f"{place}.write_report", lambda *_, **__: None)
    task = make_task(cases=4)
    folder = tmp_path / "sweep"
    places = (f"task.folder={task}", f"paths.cache={tmp_path / 'cache'}")
    command = ("fold=all", *TINY, *places, f"paths.sweep={folder}")
    assert call_here(*command, monkeypatch=monkeypatch) == 0
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["fold-0", "fold-1"]
    told = json.loads((folder / "folds.json").read_text(encoding="utf-8"))["run"]
    summaries = [json.loads((folder / f"fold-{n}" / "summary.json").read_text("utf-8")) for n in (0, 1)]
    assert told["mean_dice"]["mean"] == pytest.approx(sum(one["mean_dice"] for one in summaries) / 2)
    assert (told["mean_dice"]["cases"], told["missing"]) == (4, [])
    said = capfd.readouterr().out
    for token in (
        f"{told['mean_dice']['mean']:.4f}",
        str(folder / "folds.json"),
        f"mode=predict predict.model={folder} predict.input=",
    ):
        assert token in said

    segmenter = Segmenter.load(folder)
    assert segmenter.digests == tuple(
        read_checkpoint(folder / f"fold-{n}" / "last.pt").digest for n in (0, 1)
    )
    record = read_record(folder / "fold-1")
    assert record is not None
    write_record(folder / "fold-1", replace(record, state="running"))
    with pytest.raises(InputError, match=re.escape(str(folder))) as error:
        list_runs([folder])
    assert "fold-1" in str(error.value) and "fold-0" not in str(error.value)


def test_the_place_of_all_folds_is_that_of_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (
        call_here(
            "fold=all", *TINY, "task.folder=x", f"paths.run={tmp_path / 'run'}", monkeypatch=monkeypatch
        )
        == 1
    )
    (line,) = capfd.readouterr().err.splitlines()
    for key in ("paths.run", "paths.sweep"):
        assert key in line


def test_networks_of_several_configurations_are_not_averaged(tmp_path: Path) -> None:
    entries = (SweepJob("dense+fold-0", "dense", ()), SweepJob("mixed+fold-0", "mixed", ()))
    write_sweep(tmp_path, Sweep("test", None, entries))
    with pytest.raises(InputError, match=re.escape(str(tmp_path))) as error:
        list_runs([tmp_path])
    for group in ("dense", "mixed"):
        assert group in str(error.value)
    assert list_runs([tmp_path / "elsewhere"]) == [tmp_path / "elsewhere"]


def test_the_printed_table_has_whole_figures_in_80_columns(tmp_path: Path) -> None:
    (run,) = read_runs([make_run(tmp_path / "run")])
    large = replace(run, summary=replace(run.summary, params=1_062_657, macs_per_patch=2_580_000_000))
    better = Difference(0.0970, 0.0916, 0.1024, 41, 29, "t", 0.001)
    groups = (Group("op-conv3d", (large,), None), Group("a-very-long-name-of-a-group", (large,), better))
    printed = io.StringIO()
    Console(file=printed, width=80).print(comparison_table(Comparison("op-conv3d", groups, {})))
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for figure in ("+0.0970 (+0.0916 to +0.1024)", "1.06 M", "2.58 G", "op-conv3d"):
        assert any(figure in line for line in lines), figure
