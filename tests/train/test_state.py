"""One optimizer step: in micro-batches, in half precision, and what of it goes to disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss
from torch import Tensor

from app.core.errors import InputError
from app.data.sample.batches import Batch
from app.models import torch_compile
from app.models.checkpoint import read_checkpoint, write_checkpoint
from app.train.machine.processes import ALONE, Processes
from app.train.state import LossFunction, TrainingState
from tests.support.networks import SETTINGS, Bench, make_bench
from tests.support.volumes import MakeTask

LOSS = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, include_background=False))
VOXEL = Batch(torch.ones(1, 1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.int64), ("a",))


@pytest.fixture
def bench(make_task: MakeTask, tmp_path: Path) -> Bench:
    return make_bench(make_task(cases=4), tmp_path / "cache")


def gradients(state: TrainingState) -> list[Tensor]:
    found = [parameter.grad for parameter in state.network.parameters()]
    assert None not in found
    return [gradient.clone() for gradient in found if gradient is not None]


def stepped(bench: Bench, loss: LossFunction = LOSS, **changes: int | str) -> TrainingState:
    state = bench.state(replace(SETTINGS, **changes))  # type: ignore[arg-type]
    state.network.train()
    state.update(bench.batches().batch(0), loss, clip_norm=None)
    return state


def scaled(bench: Bench, **settings: float) -> TrainingState:
    state = bench.state()
    state.scaler = torch.amp.GradScaler("cpu", **settings)  # type: ignore[arg-type]
    state.network.train()
    return state


def of_weights(*weights: float) -> TrainingState:
    """Return a network of one weight per output, which gradient descent trains at a rate of 1."""
    network = torch.nn.Conv3d(1, len(weights), 1, bias=False)
    network.weight.data = torch.tensor(weights).reshape(-1, 1, 1, 1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return TrainingState(network, optimizer, schedule, SETTINGS)


def test_the_average_moves_a_tenth_of_the_way_to_the_weights() -> None:
    """Weights of 9, 8 and 7: the first is copied, then .9 * 9 + .1 * 8 and .9 * 8.9 + .1 * 7."""
    state, averages = of_weights(10.0), list[float]()
    for _ in range(3):
        state.update(VOXEL, lambda logits, _labels: logits.sum(), clip_norm=None)
        averages.append(next(state.judged.parameters()).item())
    assert next(state.network.parameters()).item() == 7.0
    assert averages == pytest.approx([9.0, 8.9, 8.71])


@pytest.mark.parametrize(("clip_norm", "falls"), [(1.0, [0.6, 0.8]), (12.0, [3.0, 4.0]), (None, [3.0, 4.0])])
def test_gradients_above_the_largest_norm_are_scaled_down_to_it(
    clip_norm: float | None, falls: list[float]
) -> None:
    """The gradients 3 and 4 have a norm of 5."""
    state, slopes = of_weights(0.0, 0.0), torch.tensor([3.0, 4.0])
    state.update(VOXEL, lambda logits, _labels: (slopes * logits.flatten()).sum(), clip_norm)
    torch.testing.assert_close(-next(state.network.parameters()).data.flatten(), torch.tensor(falls))


def test_micro_batches_add_up_to_the_gradients_of_the_batch(bench: Bench) -> None:
    whole, parts = stepped(bench), stepped(bench, accumulate=2)
    assert parts.losses[0] == pytest.approx(whole.losses[0], abs=1e-6)
    torch.testing.assert_close(gradients(parts), gradients(whole), atol=1e-6, rtol=1e-4)
    assert parts.step == 1 and parts.averaged is not None and int(parts.averaged.n_averaged) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_micro_batches_that_do_not_hang_on_their_number(count: int) -> None:
    shares = [Processes(rank, count).places(batch=12, accumulate=2) for rank in range(count)]
    assert sorted(place for share in shares for place in share) == list(range(12))
    assert ALONE.places(batch=4, accumulate=1) == [0, 1, 2, 3]
    for part, wanted in enumerate((set(range(6)), set(range(6, 12)))):
        size = 6 // count
        assert {place for share in shares for place in share[part * size : (part + 1) * size]} == wanted


def test_bfloat16_computes_nearly_the_same_and_keeps_weights_in_single_precision(bench: Bench) -> None:
    single, half = stepped(bench), stepped(bench, precision="bf16")
    assert half.losses[0] != single.losses[0]
    assert half.losses[0] == pytest.approx(single.losses[0], rel=0.02)
    weights, averaged, rest = half.export()
    moments = [value for entry in rest["optimizer"]["state"].values() for value in entry.values()]
    assert averaged is not None
    assert {value.dtype for value in (*weights.values(), *averaged.values(), *moments)} == {torch.float32}


def test_a_smaller_batch_is_taken_only_if_asked(bench: Bench, tmp_path: Path) -> None:
    """A loss that fits one patch: out of memory with two, as a device that is too small."""

    def small(logits: list[Tensor], labels: Tensor) -> Tensor:
        if len(labels) > 1:
            raise torch.OutOfMemoryError("emulated")
        return LOSS(logits, labels)

    with pytest.raises(torch.OutOfMemoryError):
        stepped(bench, small)
    state, wanted = stepped(bench, small, smaller_batch=True), stepped(bench, accumulate=2)
    torch.testing.assert_close(gradients(state), gradients(wanted), atol=0, rtol=0)
    assert state.losses == wanted.losses and state.step == 1
    write_checkpoint(tmp_path / "last.pt", bench.checkpoint(state))
    resumed = bench.state(replace(SETTINGS, smaller_batch=True))
    resumed.restore(read_checkpoint(tmp_path / "last.pt"))
    for each in (state, resumed):
        each.network.train()
        each.update(bench.batches().batch(1), LOSS, clip_norm=None)
    torch.testing.assert_close(gradients(resumed), gradients(state), atol=0, rtol=0)  # in one patch each too

    def never(logits: list[Tensor], labels: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("emulated")

    with pytest.raises(torch.OutOfMemoryError):
        stepped(bench, never, smaller_batch=True)


def test_a_scaled_loss_leaves_the_gradients_as_they_are(bench: Bench) -> None:
    plain, state = stepped(bench), scaled(bench, init_scale=1024.0)
    state.update(bench.batches().batch(0), LOSS, clip_norm=None)
    torch.testing.assert_close(gradients(state), gradients(plain), atol=1e-7, rtol=1e-5)
    assert state.losses == plain.losses


def test_gradients_that_overflow_are_left_out_and_the_scale_goes_to_disk(
    bench: Bench, tmp_path: Path
) -> None:
    state = scaled(bench, init_scale=2.0**60)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    state.update(bench.batches().batch(0), large(1e30), clip_norm=12.0)
    assert state.step == 1
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())
    assert state.scaler.get_scale() == 2.0**59
    write_checkpoint(tmp_path / "last.pt", bench.checkpoint(state))
    resumed = scaled(bench, init_scale=4.0)
    resumed.restore(read_checkpoint(tmp_path / "last.pt"))
    assert resumed.scaler.state_dict() == state.scaler.state_dict()


def large(factor: float) -> Callable[[list[Tensor], Tensor], Tensor]:
    return lambda logits, labels: factor * LOSS(logits, labels)


@pytest.mark.slow
def test_a_compiled_step_is_a_step(bench: Bench) -> None:
    plain, compiled = stepped(bench), stepped(bench, compile=True)
    assert compiled.losses[0] == pytest.approx(plain.losses[0], abs=1e-5)
    torch.testing.assert_close(gradients(compiled), gradients(plain), atol=1e-4, rtol=1e-2)
    assert compiled.network.state_dict().keys() == plain.network.state_dict().keys()


def test_compiling_without_a_compiler_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"train\.compile") as error:
        stepped(bench, compile=True)
    for compiler in ("g++", "clang++", "c++"):
        assert compiler in str(error.value)


def test_a_c_compiler_is_enough_off_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gcc").write_text("#!/bin/sh\n")
    (tmp_path / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    torch_compile.compiled(torch.nn.Conv3d(1, 1, 1, device="meta"), "train.compile")
    with pytest.raises(InputError, match=r"train\.compile"):
        torch_compile.compiled(torch.nn.Conv3d(1, 1, 1), "train.compile")


@pytest.mark.parametrize("rate", [0.01, 0.002])
def test_a_resumed_run_keeps_its_schedule_at_another_learning_rate(bench: Bench, rate: float) -> None:
    state, batches = bench.state(), bench.batches()
    for step in range(2):
        state.update(batches.batch(step), LOSS, clip_norm=None)
        state.follow(step + 1)
    resumed = bench.state(rate=rate)
    resumed.restore(bench.checkpoint(state))
    expected = [rate * (left / 6) ** 0.9 for left in (4, 3)]
    found = [resumed.optimizer.param_groups[0]["lr"]]
    resumed.follow(3)
    assert [*found, resumed.optimizer.param_groups[0]["lr"]] == pytest.approx(expected)
