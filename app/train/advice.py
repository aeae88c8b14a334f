"""Error messages of a training that stopped: the checkpoint it left and a learning rate that works."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from app.core import run_folder
from app.core.errors import InputError
from app.data.sample.batches import BatchSource
from app.layers.device_policy import free_bytes
from app.layers.out_of_memory import ERRORS, is_out_of_memory
from app.models.checkpoint import Checkpoint, read_checkpoint
from app.train.state import LossFunction, NotFinite, TrainingState
from app.train.training import Training

log = logging.getLogger(__name__)

_RUN_AWAY = 10.0  # a loss above this many times the first one counts as diverged
_STEPS = 20  # most steps for which one learning rate is tried
_TENTHS = 24  # most rates that are tried, each a tenth of the one before

Begin = Callable[[], tuple[TrainingState, LossFunction]]
"""A function that builds a training before its first step, and its loss."""


@contextmanager
def naming_the_checkpoint(training: Training, state: TrainingState, begin: Begin) -> Iterator[None]:
    """Add to an error that stops the training where to resume, or the advice to begin again."""
    try:
        yield
    except NotFinite as error:
        raise InputError(f"{error}; {_with_lower_rate(training, state, begin)}") from None
    except ERRORS as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"{_out_of_memory(training, state)}; {_checkpoint_of(training)}") from None
    except InputError as error:
        raise InputError(f"{error}; {_checkpoint_of(training)}") from None


@contextmanager
def naming_the_trained(training: Training) -> Iterator[None]:
    """Add to an error after the last step that the trained network is kept, and how to evaluate it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}; the network is trained: {training.resumes_by} evaluates it") from None


def _out_of_memory(training: Training, state: TrainingState) -> str:
    """Return a message that names what did not fit into the device's memory, and what to change."""
    batch, patch = training.plan.batch, "x".join(map(str, training.plan.patch))
    smaller = "" if training.settings.smaller_batch else "train.smaller_batch=true, or start a new run with "
    free = free_bytes(training.recipe.device) / 1e9
    return (
        f"step {state.step}: out of memory on {training.recipe.device}, which has {free:.1f} GB, with "
        f"{batch} patches of {patch} voxels; set {smaller}plan.batch={max(1, batch // 2)} or plan.memory_gb"
    )


def stable_factor(
    begin: Begin, batches: BatchSource, *, until: int, first: float | None, clip_norm: float | None
) -> float | None:
    """Return the largest factor of 0.1, 0.01, ... on the learning rate at which training passes step `until`.

    `begin` builds the training as it would resume, at the rate that was too high; at most `_STEPS` steps of
    it are tried. `first` is the training loss at its start; None takes the loss of the first step tried here.
    Returns None if every rate is too high.
    """
    for tenth in range(1, _TENTHS + 1):
        state, loss = begin()
        state.multiply_rate(10.0**-tenth)
        if _passes(state, loss, batches, until=until, first=first, clip_norm=clip_norm):
            return 10.0**-tenth
    return None


def _passes(
    state: TrainingState,
    loss: LossFunction,
    batches: BatchSource,
    *,
    until: int,
    first: float | None,
    clip_norm: float | None,
) -> bool:
    state.network.train()
    try:
        for batch in batches.ahead(state.step, min(until + 2, state.step + _STEPS)):
            state.update(batch, loss, clip_norm)
            state.follow(state.step)
            first = state.losses[-1] if first is None else first
            if not state.losses[-1] <= _RUN_AWAY * max(first, 1.0):  # also catches NaN
                return False
    except NotFinite:
        return False
    return all(bool(torch.isfinite(values).all()) for values in state.network.state_dict().values())


def _with_lower_rate(training: Training, failed: TrainingState, begin: Begin) -> str:
    """Return advice after a divergence: resume from a checkpoint with a lower rate, or else begin again."""
    path, rate = training.folder / run_folder.LAST, float(failed.optimizer.defaults["lr"])
    kept = read_checkpoint(path) if path.is_file() else None
    for checkpoint in (None,) if kept is None else (kept, None):
        factor = _tried(training, failed.step, begin, checkpoint)
        if factor is None:
            continue
        lower = f"{training.recipe.rate_key}={factor * rate:.3g}"
        if checkpoint is not None:
            return f"{path} is from step {_step(checkpoint)}: resume with {training.resumes_by} {lower}"
        if kept is None:
            return f"there is no checkpoint yet: start again with {lower}"
        worse = f"resuming from {path} (step {_step(kept)}) fails too"
        return f"{worse}: start a new run with {lower} and another paths.run"
    return f"no lower {training.recipe.rate_key} that was tried helps; mode=check examines the cases"


def _tried(training: Training, until: int, begin: Begin, checkpoint: Checkpoint | None) -> float | None:
    """Return the factor on the learning rate that works from a checkpoint, or from the start if None."""
    if training.processes.count > 1:  # a trial would need all processes at once
        return 0.1
    history = [] if checkpoint is None else checkpoint.training["history"]
    first = history[0]["train_loss"] if history else None
    log.info("trying lower learning rates")
    return stable_factor(
        partial(_restored, begin, checkpoint),
        training.batches,
        until=until,
        first=first,
        clip_norm=training.settings.clip_norm,
    )


def _restored(begin: Begin, checkpoint: Checkpoint | None) -> tuple[TrainingState, LossFunction]:
    state, loss = begin()
    if checkpoint is not None:
        state.restore(checkpoint)
    return state, loss


def _checkpoint_of(training: Training) -> str:
    path = training.folder / run_folder.LAST
    if not path.is_file():
        return "there is no checkpoint yet"
    return f"{path} is from step {_step(read_checkpoint(path))}, resume there with {training.resumes_by}"


def _step(checkpoint: Checkpoint) -> int:
    return int(checkpoint.training["step"])
