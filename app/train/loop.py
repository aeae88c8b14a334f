"""The training loop."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean
from types import FrameType

from torch import nn

from app.core.progress import progress_bar
from app.core.signals import ending_signals
from app.data.sample.batches import BatchSource
from app.train.metrics_csv import MetricsRow
from app.train.settings import TrainSettings
from app.train.state import LossFunction, TrainingState

ValidateFunction = Callable[[nn.Module, int], dict[str, float | None]]
"""A function from a network in eval mode and the number of the ending epoch, from 1, to Dice by label name.

Dice is None for a label that no case shows, and for all labels if this epoch is not validated.
"""
SaveFunction = Callable[[TrainingState, bool], None]
"""A function that writes a checkpoint; the second argument is True if it is the best so far."""

_LATE = 0.05  # share of its planned minutes by which a training may be late


def train(
    state: TrainingState,
    batches: BatchSource,
    loss: LossFunction,
    *,
    settings: TrainSettings,
    validate: ValidateFunction,
    save: SaveFunction,
    stop: Callable[[], bool],
) -> str:
    """Train until a limit or a signal; return the reason: steps, time, patience, request or interrupted.

    `stop` is called after every epoch; True ends the training early. A training that has ended takes no
    further step after its state is restored.

    A checkpoint is saved after every epoch and at the end, so the state in memory equals the state on disk
    then. Several processes take the same steps, because `validate` and `stop` give each of them the same
    answer.
    """
    ended = limit(state, settings) or _early(state, settings)
    with (
        _signals(ignore_repeated=state.processes.count > 1) as interrupted,
        progress_bar("Training", settings.total_steps, done=state.clock) as advance,
    ):
        started, shown = time.perf_counter(), state.clock
        for batch in batches.ahead(state.step, settings.total_steps):
            if ended:
                break
            state.network.train()
            state.update(batch, loss, settings.clip_norm)
            now = time.perf_counter()
            spent, signals = state.processes.largest(now - started, interrupted())
            state.seconds, started = state.seconds + spent, now
            state.follow(_clock(state, settings))
            reached = limit(state, settings)
            ended = "interrupted" if signals else reached
            if state.step % settings.epoch_steps == 0 or reached:
                best = _close_epoch(state, validate)
                state.requested = not ended and stop()
                ended = ended or _early(state, settings)
                save(state, best)
                advance.say(_line(state, settings))
                started = time.perf_counter()
            advance(state.clock - shown, note=_note(state))
            shown = state.clock
    if ended == "interrupted":
        save(state, False)
    return ended


def _close_epoch(state: TrainingState, validate: ValidateFunction) -> bool:
    """Validate and add a row to the history; return whether its mean Dice is the best so far."""
    started = time.perf_counter()
    dice = validate(state.judged.eval(), len(state.history) + 1)
    state.validation_seconds += state.processes.largest(time.perf_counter() - started)[0]
    known = [value for value in dice.values() if value is not None]
    row: MetricsRow = {
        "step": state.step,
        "seconds": round(state.seconds, 3),
        "train_loss": fmean(state.losses),
        "lr": float(state.optimizer.param_groups[0]["lr"]),
        "val_dice_mean": fmean(known) if known else None,
        **{f"val_dice_{label}": value for label, value in dice.items()},
    }
    before = _judged(state)
    first = not state.history
    state.history.append(row)
    state.losses = []
    value = row["val_dice_mean"]
    return first or (value is not None and value > max(before, default=-1.0))


def limit(state: TrainingState, settings: TrainSettings) -> str:
    """Return the limit that a training has reached, steps or time; empty if none."""
    if state.step >= settings.total_steps:
        return "steps"
    return "time" if _time_share(state, settings) >= 1 else ""


def _early(state: TrainingState, settings: TrainSettings) -> str:
    """Return what ends a training before its limits, patience or request; empty if nothing."""
    values = _judged(state)
    waited = len(values) - 1 - values.index(max(values)) if values else 0
    if settings.patience is not None and waited >= settings.patience:
        return "patience"
    return "request" if state.requested else ""


def _clock(state: TrainingState, settings: TrainSettings) -> int:
    """Return the schedule's position in steps: steps taken, or the share of time used if that is further."""
    return min(
        settings.total_steps, max(state.step, int(_time_share(state, settings) * settings.total_steps))
    )


def _time_share(state: TrainingState, settings: TrainSettings) -> float:
    """Return the share of the time that has passed: it moves the schedule, and 1 ends the training.

    If minutes are planned, `_LATE` is subtracted from the share, so that the schedule of a training that is
    not late depends on its steps alone.
    """
    spent = (state.seconds + state.validation_seconds) / 60
    if settings.max_minutes is not None:
        return spent / settings.max_minutes
    return 0.0 if settings.planned_minutes is None else max(0.0, spent / settings.planned_minutes - _LATE)


def _judged(state: TrainingState) -> list[float]:
    """Return the mean Dice of the epochs that were validated."""
    return [value for row in state.history if (value := row["val_dice_mean"]) is not None]


def _note(state: TrainingState) -> str:
    step = "" if state.clock == state.step else f"step {state.step}, "  # else the bar shows steps
    loss = state.losses[-1] if state.losses else state.history[-1]["train_loss"]
    known = _judged(state)
    last = f", Dice {known[-1]:.3f}" if known else ""
    return f"{step}loss {loss:.3f}{last}"


def _line(state: TrainingState, settings: TrainSettings) -> str:
    """Return one line about the last epoch, for a log without a progress bar."""
    row = state.history[-1]
    spent = state.seconds + state.validation_seconds
    passed = min(1, max(state.step / settings.total_steps, _time_share(state, settings)))
    dice = row["val_dice_mean"]
    judged = "" if dice is None else f"validation Dice {dice:.4f}, "
    return (
        f"step {state.step} of {settings.total_steps}, loss {row['train_loss']:.3f}, {judged}"
        f"{spent / 60:.1f} min, about {spent * (1 / passed - 1) / 60:.1f} min left"
    )


@contextmanager
def _signals(*, ignore_repeated: bool) -> Iterator[Callable[[], int]]:
    """Catch the signals that end a program; yield a function that returns how many have arrived.

    The second signal acts as usual unless `ignore_repeated`. torchrun repeats signals that the terminal has
    already sent, and kills a process that takes too long.
    """
    received: list[int] = []
    previous = {number: signal.getsignal(number) for number in ending_signals()}

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if not ignore_repeated:
            signal.signal(number, previous[number])

    for number in previous:
        signal.signal(number, note)
    try:
        yield lambda: len(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
