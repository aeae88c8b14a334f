"""mode=analyze from the command line: its table and picture, and that what it optimises trains at once."""

import csv
import json
from pathlib import Path

import pytest

from tests.support.cli import call_on_blobs
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "analysis.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_convolution_has_a_row_and_an_arranged_model_trains(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task()
    run, trained = tmp_path / "run", tmp_path / "trained"
    settings = ("mode=analyze", "op=conv3d", "analyze.optimise=stage", f"paths.run={run}")
    assert call_on_blobs(tmp_path, *settings, monkeypatch=monkeypatch) == 0
    found = {row["name"]: row for row in rows(run)}
    assert list(found) == [f"{part}.{n}" for part in ("encoder.0", "encoder.1", "decoder.0") for n in (0, 1)]
    first = found["encoder.0.0"]
    assert (first["field_mean_d"], first["field_mean_w"], first["params"]) == ("3", "3", str(27 * 4))
    assert float(first["latency_ms"]) > 0 and found["encoder.1.1"]["jump_d"] == "2"
    assert (run / "analysis.png").stat().st_size > 10_000

    arranged = ("--config-dir", str(run), "model=arranged", "op=conv3d", f"paths.run={trained}")
    assert call_on_blobs(tmp_path, *arranged, monkeypatch=monkeypatch) == 0
    again = (*arranged[:4], "mode=analyze", "analyze.latency=false", f"paths.run={tmp_path / 'again'}")
    assert call_on_blobs(tmp_path, *again, monkeypatch=monkeypatch) == 0
    summary = json.loads((trained / "summary.json").read_text(encoding="utf-8"))
    assert summary["model"] == "arranged" and len(rows(tmp_path / "again")) == 6

    def mean(run: Path) -> float:
        return sum(float(row["score"]) for row in rows(run)) / len(rows(run))

    assert mean(tmp_path / "again") >= mean(run)


def test_a_layout_of_chosen_kernels_trains(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task()
    run, trained = tmp_path / "run", tmp_path / "trained"
    settings = ("mode=analyze", "analyze.optimise=kernel", "analyze.budget=0.4", "analyze.latency=false")
    assert call_on_blobs(tmp_path, *settings, f"paths.run={run}", monkeypatch=monkeypatch) == 0
    assert {row["latency_ms"] for row in rows(run)} == {""}
    layout = ("op=cakes", f"op.layout={run / 'layout.yaml'}", f"paths.run={trained}")
    assert call_on_blobs(tmp_path, *layout, monkeypatch=monkeypatch) == 0
    assert (trained / "layout.yaml").is_file() and (trained / "summary.json").is_file()
