"""Held-out cases: one is read and one scored while the network runs on a third, with the same results."""

from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import pytest
import torch

from app.core.task import Case, Task
from app.infer.scan.segmenter import Segmenter
from app.train import final_scores
from app.train.final_scores import HeldOut, evaluate_held_out
from tests.support.networks import SLIDING, make_bench
from tests.support.volumes import MakeTask


def test_cases_are_read_segmented_and_scored_side_by_side(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(make_task(cases=4), tmp_path / "cache")
    checkpoint = bench.checkpoint(bench.state())
    segmenter = Segmenter.from_checkpoint(checkpoint, sliding=SLIDING, device=torch.device("cpu"))
    cases = bench.task.cases

    def evaluate(name: str) -> HeldOut:
        return evaluate_held_out(segmenter, cases, bench.task, tmp_path / name, nsd_tolerance_mm=1.0)

    with monkeypatch.context() as patch:
        patch.setattr(final_scores, "fitting_workers", lambda *_: 1)  # memory for one case
        alone = evaluate("alone")

    read = {case.id: Event() for case in cases}
    usual_read, usual_score = final_scores.read_case, final_scores.score_case

    def reading(case: Case, task: Task) -> Any:
        read[case.id].set()
        return usual_read(case, task)

    def scoring(case: str, *args: Any, **kwargs: Any) -> Any:
        place = [each.id for each in cases].index(case)
        assert current_thread() is not main_thread()
        assert all(read[each.id].wait(60) for each in cases[: place + 3])
        return usual_score(case, *args, **kwargs)

    monkeypatch.setattr(final_scores, "read_case", reading)
    monkeypatch.setattr(final_scores, "score_case", scoring)
    together = evaluate("together")
    assert together.scores == alone.scores and [score.case for score in alone.scores] == [
        case.id for case in cases
    ]
    assert {case: sums.to_dict() for case, sums in together.sums.items()} == {
        case: sums.to_dict() for case, sums in alone.sums.items()
    }
    maps = sorted(path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*.nii.gz"))
    assert len(maps) == len(cases)
    for path in maps:
        assert (tmp_path / "together" / path).read_bytes() == (tmp_path / "alone" / path).read_bytes()
