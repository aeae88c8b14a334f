from dataclasses import replace
from pathlib import Path

import pytest

from app.metrics.score import Score
from app.report.page.card import as_markdown, model_card
from app.report.page.page import write_report
from app.report.read.runs import read_runs
from tests.support.runs import make_run


def test_a_card_has_counts_intervals_misses_and_what_a_person_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (run,) = read_runs([folder])
    split = {"train": ["t1", "t2"], "validation": ["a", "b", "c"], "groups": {"a": "p", "b": "p"}}
    scores = (
        Score("a", "one", {"dice": 0.9, "hd95_mm": 1.0}, 1, 1, "p"),
        Score("b", "one", {"dice": 0.0, "hd95_mm": 50.0}, 0, 1, "p"),
        Score("c", "one", {"dice": None}, 1, 0),
    )
    card = model_card(replace(run, split=split, scores=scores), {"intended_use": "counting voxels"})
    found = {section.title: dict(section.rows) for section in card}
    assert found["Intended use"] == {"Use": "counting voxels"}
    assert found["Data"]["Training"] == "2 cases of 2 groups (patients)"
    assert found["Data"]["Held out"] == "3 cases of 2 groups (patients)"
    told = found["Accuracy on held-out cases"]["one"]
    for words in ("0.450", "n = 2", "missed in 1 of 2", "false alarms in 1 of 1", "25.50 mm"):
        assert words in told
    assert {"No test set", "Few patients", "Misses"} <= found["Limits"].keys()
    assert "1 min 02 s" in found["Cost"]["Training"]
    assert "## Limits" in as_markdown("phantom", card)


@pytest.mark.e2e
def test_the_card_is_a_file_beside_the_page_and_in_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    write_report([folder], folder / "report.html")
    text = (folder / "model_card.md").read_text(encoding="utf-8")
    assert text.startswith("# Model card: phantom") and "3 cases of 3 groups" in text
    assert 'download="model_card.md"' in (folder / "report.html").read_text(encoding="utf-8")
