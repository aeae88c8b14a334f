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


def validation_dice(
    network: nn.Module,
    cases: Sequence[CachedCase],
    *,
    targets: Mapping[str, tuple[int, ...]],
    ignore: int | None,
    plan: Plan,
    sliding: SlidingSettings,
) -> dict[str, float | None]:
    """Mean Dice over cases by target name, on the network's grid; None where no case has the target."""
    device = next(network.parameters()).device
    found: dict[str, list[float]] = {name: [] for name in targets}
    for case in cases:
        image = torch.from_numpy(np.array(case.image())).to(device)
        predicted = labels_of(sliding_logits(network, image, plan, sliding)).cpu().numpy()
        for name, masks in target_masks(predicted, case.labels(), targets, ignore).items():
            dice = Dice()(*masks, (1.0, 1.0, 1.0))
            if dice is not None:
                found[name].append(dice)
    return {name: fmean(values) if values else None for name, values in found.items()}


def spread(cases: Sequence[CachedCase], count: int | None) -> Sequence[CachedCase]:
    """`count` cases spread evenly over all; None for all."""
    if count is None or count >= len(cases):
        return cases
    return [cases[index * len(cases) // count] for index in range(count)]
