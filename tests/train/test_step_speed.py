import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app.cli.config.build import build_recipe
from app.cli.config.task import open_task
from app.train import step_speed
from app.train.step_speed import step_seconds
from tests.support.config import TINY, composed
from tests.support.networks import make_bench
from tests.support.volumes import MakeTask


def test_a_step_is_measured_once_for_a_machine_a_network_and_a_batch(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_task(cases=4)
    bench, cfg = make_bench(folder, tmp_path / "cache"), composed(*TINY, f"task.folder={folder}")
    kept, recipe = tmp_path / "speeds.json", build_recipe(cfg, *open_task(cfg))
    before = torch.get_rng_state()
    first = step_seconds(bench.network, bench.plan, recipe, kept, labels=2)
    assert first > 0 and list(json.loads(kept.read_text()).values()) == [first]
    assert torch.equal(before, torch.get_rng_state())
    monkeypatch.setattr(step_speed, "_measure", lambda *_: pytest.fail("measured again"))
    assert step_seconds(bench.network, bench.plan, recipe, kept, labels=2) == first
    monkeypatch.setattr(step_speed, "_measure", lambda *_: 7.0)
    assert step_seconds(bench.network, replace(bench.plan, batch=1), recipe, kept, labels=2) == 7.0


@pytest.mark.parametrize(("readers", "seconds"), [(0, 7.0), (1, 4.0)])
def test_readers_augment_while_a_step_is_taken(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: int, seconds: float
) -> None:
    folder = make_task(cases=4)
    bench, cfg = make_bench(folder, tmp_path / "cache"), composed(*TINY, f"task.folder={folder}")
    ticks = iter(4.0 * tick for tick in range(100))
    monkeypatch.setattr(step_speed.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(step_speed, "_augmenting", lambda *_: 3.0)
    monkeypatch.setattr(step_speed, "readers_beside", lambda _: readers)
    recipe = build_recipe(cfg, *open_task(cfg))
    assert step_seconds(bench.network, bench.plan, recipe, tmp_path / "speeds.json", labels=2) == seconds
