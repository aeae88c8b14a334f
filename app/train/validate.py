"""Dice of a network on prepared held-out cases during training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import nn

from app.core.plan import Plan
from app.core.task import Task
from app.data.prepare.cached_case import CachedCase
from app.data.prepare.parallel import spread
from app.infer.window.sliding import SlidingSettings, fit_windows, sliding_labels
from app.metrics.overlap import dice_by_target
from app.train.machine.processes import ALONE, Processes
from app.train.settings import TrainSettings

_SHARE = 0.1  # share of an epoch's time, including validation, that validation may take
_PASSES = 3  # a training step takes as long as this many forward passes
_OVERLAPPING = 1.5  # windows per patch of a case's volume


def validation_dice(
    network: nn.Module,
    cases: Sequence[CachedCase],
    *,
    task: Task,
    plan: Plan,
    sliding: SlidingSettings,
    precision: torch.dtype = torch.float32,
    processes: Processes = ALONE,
) -> dict[str, float | None]:
    """Return mean Dice over cases by target, on the network's grid; None if no case has the target.

    With a first stage, only the region that it would find is segmented. A case counts for the targets that
    its reference annotates. Each case is segmented by one of the processes; all processes get the means.
    """
    device = next(network.parameters()).device
    by_id = {case.id: case for case in task.cases}

    def case_dice(case: CachedCase) -> dict[str, float | None]:
        region = case.region()
        image = torch.from_numpy(case.image().cut(region.start, region.size, np.float32)).to(device)
        predicted = sliding_labels(network, image, plan, sliding, precision).numpy()
        reference = case.labels().cut(region.start, region.size)[0]
        return dice_by_target(predicted, reference, task.targets_in(by_id[case.id]), task.ignore)

    found = processes.over(cases, case_dice)
    known = {name: [v for dice in found if (v := dice.get(name)) is not None] for name in task.targets}
    return {name: fmean(values) if values else None for name, values in known.items()}


@dataclass(frozen=True)
class Credit:
    """The validation that a training has time for: `cases`, after every `every`-th epoch."""

    cases: Sequence[CachedCase]
    every: int


def affordable(
    cases: Sequence[CachedCase], *, most: int | None, patches: int, plan: Plan, sliding: SlidingSettings
) -> Credit:
    """Return cases evenly spread over all: as many as take a tenth of an epoch of `patches`, at most `most`.

    If a single case takes longer, validation runs only after every few epochs. The cost is counted in voxels,
    not in seconds, so that two runs validate on the same cases.
    """
    one = fmean(fit_windows(case.region().size, [plan], sliding).voxels for case in cases)
    epoch = _PASSES * patches * math.prod(plan.patch)
    count = _SHARE / (1 - _SHARE) * epoch / one
    chosen = max(1, int(count))
    return Credit(
        spread(cases, chosen if most is None else min(most, chosen)), math.ceil(1 / min(1.0, count))
    )


def expected_share(settings: TrainSettings, batch: int, patches: float) -> float:
    """Return the expected seconds of validation per second of training, before cases are prepared.

    `patches` is the volume of a typical case in patches.
    """
    most = _SHARE / (1 - _SHARE)
    if settings.validation_cases is None:
        return most
    epoch = _PASSES * settings.epoch_steps * settings.accumulate * batch
    return min(most, settings.validation_cases * _OVERLAPPING * patches / epoch)
