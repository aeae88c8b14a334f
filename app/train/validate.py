"""Dice of a network on prepared held-out cases, as training goes on."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import torch
from torch import nn

from app.core.plan import Plan
from app.data.cache import CachedCase
from app.infer.labels import labels_of
from app.infer.sliding import SlidingSettings, sliding_logits
from app.metrics.dice import Dice
from app.metrics.target_masks import target_masks
from app.train.processes import ALONE, Processes


def validation_dice(
    network: nn.Module,
    cases: Sequence[CachedCase],
    *,
    targets: Mapping[str, tuple[int, ...]],
    ignore: int | None,
    plan: Plan,
    sliding: SlidingSettings,
    processes: Processes = ALONE,
) -> dict[str, float | None]:
    """Mean Dice over cases by target name, on the network's grid; None where no case has the target.

    Each case is segmented by one of the processes; all get the means.
    """
    device = next(network.parameters()).device

    def case_dice(case: CachedCase) -> dict[str, float | None]:
        image = torch.from_numpy(np.array(case.image())).to(device)
        predicted = labels_of(sliding_logits(network, image, plan, sliding)).cpu().numpy()
        masks = target_masks(predicted, case.labels(), targets, ignore)
        return {name: Dice()(*pair, (1.0, 1.0, 1.0)) for name, pair in masks.items()}

    found = processes.over(cases, case_dice)
    known = {name: [value for dice in found if (value := dice[name]) is not None] for name in targets}
    return {name: fmean(values) if values else None for name, values in known.items()}


def spread(cases: Sequence[CachedCase], count: int | None) -> Sequence[CachedCase]:
    """`count` cases spread evenly over all; None for all."""
    if count is None or count >= len(cases):
        return cases
    return [cases[index * len(cases) // count] for index in range(count)]
