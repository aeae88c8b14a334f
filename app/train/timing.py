"""Times of networks in milliseconds, measured in turns so that a slow phase of the machine affects all."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

from app.core.progress import progress_bar
from app.core.types import Size
from app.data.sample.batches import Batch
from app.layers.device_policy import laid_out
from app.train.state import LossFunction, TrainingState

_WARM_UP = 2
_ROUNDS = 9


@dataclass(frozen=True)
class Subject:
    """A network to time, which can be trained; its input is noise of a patch's size."""

    state: TrainingState
    loss: LossFunction
    in_channels: int
    labels: int
    patch: Size
    batch: int
    """Patches per step, all micro-batches together."""
    clip_norm: float | None


@dataclass(frozen=True)
class Timing:
    """The milliseconds of one forward pass on a patch, without gradients, and of one training step."""

    forward_ms: float
    step_ms: float


def time_networks(subjects: Mapping[str, Subject]) -> dict[str, Timing]:
    """Return medians over rounds in which each network runs once. The networks' weights change."""
    forward = _in_turn({name: _forward(subject) for name, subject in subjects.items()}, "Timing forward")
    step = _in_turn({name: _step(subject) for name, subject in subjects.items()}, "Timing steps")
    return {name: Timing(forward[name], step[name]) for name in subjects}


def _in_turn(work: Mapping[str, Callable[[], object]], title: str) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in work}
    with progress_bar(title, (_WARM_UP + _ROUNDS) * len(work)) as advance:
        for _ in range(_WARM_UP + _ROUNDS):
            for name, call in work.items():
                started = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - started)
                advance()
    return {name: 1000 * median(values[_WARM_UP:]) for name, values in seconds.items()}


def _forward(subject: Subject) -> Callable[[], object]:
    network = subject.state.judged
    image = laid_out(_noise(subject, 1).image.to(next(network.parameters()).device))

    @torch.inference_mode()
    def call() -> None:
        network.eval()(image).sum().item()  # the sum waits for an asynchronous device

    return call


def _step(subject: Subject) -> Callable[[], object]:
    batch = _noise(subject, subject.batch)

    def call() -> None:
        subject.state.network.train()
        subject.state.update(batch, subject.loss, subject.clip_norm)

    return call


def _noise(subject: Subject, batch: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, subject.in_channels, *subject.patch, generator=generator)
    labels = torch.randint(subject.labels, (batch, *subject.patch), generator=generator)
    return Batch(image, labels, ("noise",))
