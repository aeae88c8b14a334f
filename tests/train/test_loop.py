import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app.core.errors import InputError
from app.data.sample.batches import Batch
from app.models.checkpoint import read_checkpoint, write_checkpoint
from app.train import loop
from app.train.metrics_csv import write_metrics
from app.train.settings import TrainSettings
from app.train.state import TrainingState
from tests.support.networks import SETTINGS, Bench, make_bench
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e


@pytest.fixture
def bench(make_task: MakeTask, tmp_path: Path) -> Bench:
    return make_bench(make_task(cases=4), tmp_path / "cache")


@pytest.fixture
def by_default() -> Iterator[Callable[[int], None]]:
    """A function that gives a signal its usual effect until the test ends; `nohup` ignores some."""
    before: dict[int, Any] = {}

    def reset(number: int) -> None:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        before[number] = signal.signal(number, usual)

    yield reset
    for number, handler in before.items():
        signal.signal(number, handler)


def everything(state: TrainingState) -> dict[str, torch.Tensor]:
    weights, averaged, rest = state.export()
    moments = {
        f"moment {index} {name}": value
        for index, entry in rest["optimizer"]["state"].items()
        for name, value in entry.items()
    }
    assert averaged is not None
    return {
        **weights,
        **{f"averaged {name}": value for name, value in averaged.items()},
        **moments,
        "random": rest["random"],
        "counters": torch.tensor([rest["step"], rest["clock"], rest["averages"], *rest["losses"]]),
    }


def drawing_loss(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """A loss that is another one whenever torch's generator has drawn something else before."""
    targets = labels[:, 0].long()
    return torch.nn.functional.cross_entropy(logits[0] * (0.5 + torch.rand(())), targets)


def assert_equal(first: TrainingState, second: TrainingState) -> None:
    ours, theirs = everything(first), everything(second)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name
    assert first.schedule.state_dict() == second.schedule.state_dict()
    without_time = [[{**row, "seconds": 0} for row in state.history] for state in (first, second)]
    assert without_time[0] == without_time[1]


def test_training_lowers_the_loss_and_ends_with_the_steps(bench: Bench) -> None:
    settings = replace(SETTINGS, steps=40, epoch_steps=10)
    state = bench.state(settings)
    assert bench.train(state, settings) == "steps"
    assert state.step == 40 and len(state.history) == 4
    first, last = (state.history[index] for index in (0, -1))
    assert first["train_loss"] is not None and last["train_loss"] is not None
    assert last["train_loss"] < 0.8 * first["train_loss"]
    assert last["val_dice_mean"] is not None and last["val_dice_mean"] > 0.6
    assert last["lr"] == 0.0


def test_same_seed_same_numbers(bench: Bench) -> None:
    first, second = bench.state(), bench.state()
    bench.train(first)
    bench.train(second)
    assert_equal(first, second)


@pytest.mark.parametrize(
    ("stop", "name"),
    [
        (1, "SIGINT"),
        (3, "SIGTERM"),
        (4, "SIGUSR1"),
        (3, "SIGUSR2"),
        (1, "SIGXCPU"),
        (4, "SIGHUP"),
        (5, "SIGINT"),
    ],
)
def test_resume_equals_an_uninterrupted_run(
    bench: Bench, tmp_path: Path, stop: int, name: str, by_default: Callable[[int], None]
) -> None:
    """Interrupted by a signal after `stop` steps, in the middle or at the end of an epoch.

    The loss draws from torch's generator, so that its state has to be restored too.
    """
    if not hasattr(signal, name):
        pytest.skip("not a signal of this system")
    number = getattr(signal, name)
    by_default(number)
    whole = bench.state()
    bench.train(whole, loss=drawing_loss)

    def save(state: TrainingState, best: bool) -> None:
        write_checkpoint(tmp_path / "last.pt", bench.checkpoint(state))

    interrupted = bench.state()
    step = interrupted.update

    def update(batch: Batch, loss: Callable[..., torch.Tensor], clip_norm: float | None) -> None:
        step(batch, loss, clip_norm)
        if interrupted.step == stop:
            os.kill(os.getpid(), number)

    interrupted.update = update  # type: ignore[method-assign]
    assert bench.train(interrupted, save=save, loss=drawing_loss) == "interrupted"
    torch.manual_seed(99)
    resumed = bench.state()
    resumed.restore(read_checkpoint(tmp_path / "last.pt"))
    assert resumed.step == stop
    assert bench.train(resumed, loss=drawing_loss) == "steps"
    assert_equal(whole, resumed)


def test_patience_ends_a_run_that_does_not_improve(bench: Bench) -> None:
    settings = replace(SETTINGS, steps=20, epoch_steps=1, patience=2)
    state = bench.state(settings)
    assert bench.train(state, settings, validate=lambda network, epoch: {"blob": 0.5}) == "patience"
    assert state.step == 3


def test_request_ends_a_run_after_its_epoch(bench: Bench) -> None:
    state = bench.state()
    assert bench.train(state, stop=lambda: state.step >= 2) == "request"
    assert state.step == 2


@pytest.mark.parametrize("ended", ["patience", "request"])
def test_a_run_that_ended_early_does_not_train_on_when_resumed(
    bench: Bench, tmp_path: Path, ended: str
) -> None:
    settings = replace(SETTINGS, steps=20, epoch_steps=1, patience=2 if ended == "patience" else None)
    state = bench.state(settings)
    given = {"validate": lambda network, epoch: {"blob": 0.5}, "stop": lambda: state.step >= 3}
    assert bench.train(state, settings, **given) == ended
    write_checkpoint(tmp_path / "last.pt", bench.checkpoint(state))
    resumed = bench.state(settings)
    resumed.restore(read_checkpoint(tmp_path / "last.pt"))
    assert bench.train(resumed, settings) == ended
    assert resumed.step == 3
    assert_equal(state, resumed)


def test_a_checkpoint_that_does_not_say_of_a_request_goes_on(bench: Bench) -> None:
    state = bench.state()
    assert bench.train(state, stop=lambda: True) == "request"
    checkpoint = bench.checkpoint(state)
    del checkpoint.training["requested"]
    resumed = bench.state()
    resumed.restore(checkpoint)
    assert bench.train(resumed) == "steps"


def test_time_ends_a_run_and_the_schedule_and_the_bar_with_it(
    bench: Bench, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    settings = replace(SETTINGS, steps=100_000, epoch_steps=50_000, max_minutes=0.02)
    state = bench.state(settings)
    assert bench.train(state, settings) == "time"
    assert 0 < state.step < 100_000
    assert state.clock == 100_000 and state.history[-1]["lr"] == 0.0
    printed = capsys.readouterr().err
    spent = round((state.seconds + state.validation_seconds) / 60, 1)
    minutes = re.findall(r"(\d+\.\d+) min", printed)  # in the line of the epoch: spent and left
    assert sorted(map(float, minutes)) == [0.0, spent]
    bar = " ".join(printed.split()).rpartition("100000/")[2]  # ends with the time left and the step
    assert re.search(rf"\b0:00:00\b.*(?<![\d.]){state.step}\b(?!\.)", bar)


def test_best_is_saved_when_dice_rises(bench: Bench) -> None:
    dice = iter([0.3, 0.2, 0.4])
    saved: list[bool] = []
    bench.train(
        bench.state(),
        validate=lambda network, epoch: {"blob": next(dice)},
        save=lambda state, best: saved.append(best),
    )
    assert saved == [True, False, True]


def test_a_loss_that_is_not_finite_names_step_and_cases(bench: Bench) -> None:
    state = bench.state()
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    with pytest.raises(InputError, match=r"\bnan\b") as error:
        bench.train(state, loss=lambda logits, labels: logits[0].sum() * float("nan"))
    assert re.search(r"\b0\b", str(error.value))  # the step
    assert len(set(re.findall(r"blob_00\d", str(error.value)))) == bench.plan.batch
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())


@pytest.mark.parametrize(
    ("seconds", "steps", "ended"),
    [(60.0, 5, "steps"), (62.0, 5, "steps"), (90.0, 4, "time"), (120.0, 3, "time")],
)
def test_a_training_later_than_planned_follows_the_clock_and_ends_in_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int, ended: str
) -> None:
    """Five steps are planned for five minutes: with up to 63 s each they are in time at unchanged rates."""
    monkeypatch.setattr(loop.time, "perf_counter", lambda: 0.0)

    def trained(settings: TrainSettings) -> tuple[TrainingState, str, list[float]]:
        state, rates = bench.state(settings), list[float]()
        step = state.update

        def update(*given: Any) -> None:
            rates.append(state.schedule.get_last_lr()[0])
            step(*given)
            state.seconds += seconds

        state.update = update  # type: ignore[method-assign]
        return state, bench.train(state, settings), rates

    plain = replace(SETTINGS, steps=5, epoch_steps=50)
    state, why, rates = trained(replace(plain, planned_minutes=5.0))
    assert (state.step, state.clock, why) == (steps, 5, ended)
    assert state.history[-1]["lr"] == 0.0
    assert (rates == trained(plain)[2]) == (ended == "steps")


def test_planned_minutes_do_not_replace_steps_or_minutes_that_are_set() -> None:
    free = replace(SETTINGS, steps=None)
    assert free.in_minutes(20.0).with_steps(7, factor=2).planned_minutes == 40.0
    assert free.in_minutes(None).planned_minutes is None
    assert SETTINGS.in_minutes(20.0) == SETTINGS
    assert replace(free, max_minutes=3.0).in_minutes(20.0).planned_minutes is None


def test_metrics_file_has_a_row_an_epoch(bench: Bench, tmp_path: Path) -> None:
    state = bench.state()
    bench.train(state)
    write_metrics(tmp_path / "metrics.csv", state.history)
    lines = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "step,seconds,train_loss,lr,val_dice_mean,val_dice_blob"
    assert [line.split(",")[0] for line in lines[1:]] == ["2", "4", "6"]


def test_impossible_settings_are_named() -> None:
    for changes, message in (
        ({"steps": 0}, "train.steps"),
        ({"max_minutes": -1.0}, "train.max_minutes"),
        ({"ema_decay": 1.0}, "train.ema_decay"),
    ):
        with pytest.raises(InputError, match=message):
            replace(SETTINGS, **changes)
    assert isinstance(SETTINGS, TrainSettings)
