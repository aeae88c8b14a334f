"""How long to train and how often on foreground, from the amount of data and how often a label is met."""

import math

import numpy as np

from app.core.plan import Plan
from app.core.task import Task
from app.core.types import Size
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.label_coverage import PARTS
from app.data.plan.reasons import foreground_reason, steps_reason

_SHARES = (0.5, 0.67)  # of patches centred on foreground, where those from anywhere always or never meet it
_LEAST_STEPS = 400  # fewer leave a network unfinished however little data there is
_FEW_PASSES = 60  # over all scans; hippocampus, 8 to 10 of them: half the chances gain .005 Dice, none .008
_MILD = 0.5
_ROUND_STEPS = 100  # an epoch of train.epoch_steps


def plan_foreground_share(fingerprint: Fingerprint, task: Task, patch: Size, scan: Size) -> tuple[float, str]:
    """The fewer patches from anywhere hold some of the label hardest to meet, the more are centred on one.

    `scan` is a typical one, in voxels of the plan's spacing.
    """
    part = min(1.0, (math.prod(patch) / math.prod(scan)) ** (1 / 3))
    met = {
        name: float(np.interp(part, PARTS, shares))
        for name, shares in zip(task.foreground, fingerprint.met, strict=False)
        if any(shares)
    }
    least, most = _SHARES
    if not met:
        return least, "no scan has any foreground"
    hardest = min(met, key=lambda name: met[name])
    share = round(most - (most - least) * met[hardest], 2)
    return share, foreground_reason(hardest, met[hardest], len(met), _SHARES)


def plan_augment(scans: int, parts: float, plan: Plan, steps: int | None) -> tuple[float, str]:
    """Half the chances of augmentation if a training of `steps` goes over all scans only a few times.

    A scan is `parts` patches. None for a training that a clock ends.
    """
    if steps is None:
        return 1.0, "all of the chances of augmentation: a clock ends the training"
    passes = steps * plan.batch / (scans * parts)
    seen = f"{steps} steps see each scan about {passes:.0f} times"
    if passes < _FEW_PASSES:
        return (
            _MILD,
            f"{seen}: half of the chances of augmentation, as few steps learn more so",
        )
    return 1.0, f"{seen}: all of the chances of augmentation"


def plan_steps(scans: int, parts: float, batch: int, *, passes: int, most: int) -> tuple[int, str]:
    """As many steps as it takes to go over all scans `passes` times, a scan being `parts` patches."""
    steps = passes * scans * parts / batch
    rounded = math.ceil(steps / _ROUND_STEPS) * _ROUND_STEPS
    bounded = min(most, max(_LEAST_STEPS, rounded))
    return bounded, steps_reason(scans, parts, batch, passes, wanted=rounded, got=bounded)
