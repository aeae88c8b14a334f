"""The first sentence has the figures of the run, or of the best group and what it cost."""

import json
from pathlib import Path

from app.core.files import write_json
from app.core.sweep import Sweep, SweepJob
from app.report.compare.groups import Comparison, compare
from app.report.page.answer import score_sentences, winner
from app.report.read.runs import read_runs
from tests.support.runs import HOSTILE, make_run


def test_a_run_has_its_mean_its_weakest_label_and_its_worst_case(tmp_path: Path) -> None:
    (run,) = read_runs([make_run(tmp_path / "run")])
    words = score_sentences(run)
    weakest, worst = f"{HOSTILE} with 0.750", "case_b with 0.500"
    for figure in ("0.775", weakest, "3 held-out cases.", "0 of 6 labels", worst):
        assert figure in words
    (tmp_path / "run" / "cases.csv").unlink()
    (run,) = read_runs([tmp_path / "run"])
    assert score_sentences(run) == ""


def compared(folder: Path, dice: dict[str, float]) -> Comparison:
    for name, value in dice.items():
        run = make_run(folder / name, mean_dice=value)
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        write_json(run / "summary.json", {**summary, "params": 10_000 * len(name)})
    sweep = Sweep("s", "dense", tuple(SweepJob(name, name, ()) for name in dice))
    found = compare(read_runs([folder / name for name in dice]), sweep)
    assert found is not None
    return found


def test_the_best_group_has_its_difference_and_its_cost(tmp_path: Path) -> None:
    words = winner(compared(tmp_path, {"dense": 0.7, "mixed9": 0.8, "poor": 0.5}))
    cost = "its cost is 1 min 02 s of training, 60 k parameters, 4.32 G MACs"
    for figure in ("mixed9 has", "0.800", "+0.0000 to dense", "chance", cost):
        assert figure in words


def test_the_baseline_can_be_the_best(tmp_path: Path) -> None:
    words = winner(compared(tmp_path, {"dense": 0.9, "mixed": 0.8}))
    assert words.startswith("dense has") and "baseline" in words and "0.900" in words
