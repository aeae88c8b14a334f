"""Dice of a network on prepared held-out cases, as training goes on."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import torch
from torch import nn

from app.core.plan import Plan
from app.data.cache import CachedCase
from app.infer.sliding import SlidingSettings, sliding_logits
from app.metrics.dice import Dice


def validation_dice(
    network: nn.Module,
    cases: Sequence[CachedCase],
    *,
    labels: Sequence[str],
    plan: Plan,
    sliding: SlidingSettings,
) -> dict[str, float | None]:
    """Mean Dice over cases by label name, on the network's grid; None where no case has the label."""
    device = next(network.parameters()).device
    found: dict[str, list[float]] = {label: [] for label in labels}
    for case in cases:
        image = torch.from_numpy(np.array(case.image())).to(device)
        predicted = sliding_logits(network, image, plan, sliding).argmax(dim=0).cpu().numpy()
        reference = case.labels()
        for value, label in enumerate(labels, start=1):
            dice = Dice()(predicted == value, reference == value, (1.0, 1.0, 1.0))
            if dice is not None:
                found[label].append(dice)
    return {label: fmean(values) if values else None for label, values in found.items()}


def spread(cases: Sequence[CachedCase], count: int | None) -> Sequence[CachedCase]:
    """`count` cases spread evenly over all; None for all."""
    if count is None or count >= len(cases):
        return cases
    return [cases[index * len(cases) // count] for index in range(count)]
