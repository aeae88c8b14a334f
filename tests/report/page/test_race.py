"""The section of a page on a race of networks."""

import json
import re
from pathlib import Path

import pytest

from app.core.files import write_json
from app.report.wording import duration
from tests.support.pages import report
from tests.support.runs import make_run

pytestmark = pytest.mark.e2e


def test_a_race_says_what_it_took_and_who_won(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    losses = {"finalists": [0.51234, 0.52, 0.53], "finalists_again": [0.64321, 0.65, 0.66]}
    judged = {**losses, "spearman": -0.5, "networks": [6, 3, 3], "steps": [1, 2, 4]}
    times = {"train_seconds": 100.0, "decode_seconds": 25.0}
    write_json(folder / "summary.json", {**summary, **times, "race": judged})  # as earlier versions wrote it
    text = report(tmp_path, folder).texts["race"]
    for found in (duration(125), duration(25), "-0.50", "6 of 1 steps, 3 of 2 steps, 3 of 4 steps", "0.5123"):
        assert found in text
    named = {"contestants": 9, "winner": 7, "numbers": [7, 2, 5], "lead": 0.612, "lead_error": 0.4}
    write_json(folder / "summary.json", {**summary, **times, "race": {**judged, **named}})
    cells = re.findall(r"<td[^>]*>(.*?)</td>", report(tmp_path, folder).source.partition('id="race"')[2])
    assert cells[2] == "9" and cells[5:7] == ["0.61 ± 0.40", "network 7"]
    assert [cells[7], cells[8]] == ["1,234,567", "4.32 G"]
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert "race" not in report(tmp_path, folder).ids
