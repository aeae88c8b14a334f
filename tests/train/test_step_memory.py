"""The memory of a step, counted on tensors without data, against numbers known by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss

from app.train import step_memory as memory
from app.train.step_memory import _Alive, process_peak_bytes, step_bytes
from tests.support.networks import make_bench
from tests.support.volumes import MakeTask

LOSS = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, include_background=False))


def test_alive_counts_what_lives_at_once() -> None:
    with _Alive() as alive:
        first = torch.empty(1000, device="meta")
        second = first * 2
        view = second.view(10, 100)
        assert alive.now == 8000
        del first
        assert alive.now == 4000
        third = view + 1
        del second, view, third
    assert (alive.now, alive.peak) == (0, 8000)


def test_a_step_grows_with_patch_and_batch(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(make_task(cases=2), tmp_path / "cache")
    small = step_bytes(bench.network, bench.plan, LOSS)
    voxels = 16**3
    assert small > bench.plan.batch * voxels * 4 * 4 * 6  # at least six maps of width 4 are kept for backward
    double = step_bytes(bench.network, replace(bench.plan, batch=4), LOSS)
    assert 1.7 < double / small < 2.1
    longer = step_bytes(bench.network, replace(bench.plan, patch=(32, 16, 16)), LOSS)
    assert 1.7 < longer / small < 2.1
    shared = step_bytes(bench.network, replace(bench.plan, batch=4), LOSS, processes=2)
    assert small < shared < 0.8 * double  # the network sees half the batch, the loss all of it
    resident = process_peak_bytes(bench.network, bench.plan, LOSS)
    assert resident > 1.15 * small + 200_000_000
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    own = [process_peak_bytes(bench.network, replace(bench.plan, batch=batch), LOSS) for batch in (2, 4)]
    assert own[0] >= small and own[1] - own[0] >= double - small
