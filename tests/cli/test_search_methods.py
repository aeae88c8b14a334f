"""mode=search by the methods that read gates, or chance alone, from the command line to a layout."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from conftest import TINY, MakeTask

from app.core.layout import read_layout


@pytest.mark.parametrize("method", ["budget", "paper_cost", "paper_performance", "random"])
def test_each_method_ends_with_a_layout(
    method: str, tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task()
    places = (f"task.folder={tmp_path / 'Task90_Blobs'}", f"paths.cache={tmp_path / 'cache'}")
    run = tmp_path / "run"
    command = (
        "run.py",
        "mode=search",
        f"search.method={method}",
        *TINY,
        "search.where=all",
        *places,
        f"paths.run={run}",
    )
    monkeypatch.setattr(sys, "argv", list(command))
    runpy.run_path("run.py", run_name="__main__")
    layout = read_layout(run / "layout.yaml")
    assert layout.provenance["method"] == method
    assert {name: sum(groups.values()) for name, groups in layout.convolutions.items()} == {
        **{"encoder.0.0": 4, "encoder.0.1": 4, "encoder.1.0": 8, "encoder.1.1": 8},
        **{"decoder.0.0": 4, "decoder.0.1": 4},
    }
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert method.startswith("paper") or summary["layout"]["share"] <= 0.3
    steps = {"budget": 4, "paper_cost": 4, "paper_performance": 8}
    assert summary.get("steps") == steps.get(method)
