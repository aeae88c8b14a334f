"""The time of a training step on this machine: measured on a few steps of noise and kept for later plans.

It is stored by machine, network and batch, so that the same command makes the same plan again.
"""

import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from app.core.digest import digest_of
from app.core.files import read_json, write_json
from app.core.plan import Plan
from app.data.sample.augment import Augment
from app.data.sample.batches import Batch
from app.models.network import NetworkSpec, to_device
from app.train.inputs import augmenting_device, readers_beside
from app.train.machine.environment import machine
from app.train.state import TrainingState
from app.train.training import Recipe

_STEPS = 3  # measured, after one that sets up PyTorch's kernels and memory
_BATCHES = 4  # augmented for the mean, because only some patches of each are rotated or scaled


def step_seconds(network: NetworkSpec, plan: Plan, recipe: Recipe, kept: Path, *, labels: int) -> float:
    """Return the seconds of a training step: those stored in `kept`, or else measured and stored there."""
    settings = replace(recipe.settings.with_steps(plan.steps), accumulate=1)
    how = [settings.precision, settings.compile, settings.ema_decay, type(recipe.loss).__name__]
    sizes = [plan.patch, plan.batch, labels]
    measured_for = [machine(recipe.device), network.describe(), *sizes, *how, recipe.augment]
    key = digest_of(measured_for)[:16]
    known = _known(kept)
    if key not in known:
        measured = round(_measure(network, plan, replace(recipe, settings=settings), labels), 4)
        write_json(kept, {**_known(kept), key: measured})
        return measured
    return known[key]


def _known(kept: Path) -> dict[str, float]:
    return read_json(kept) if kept.is_file() else {}


def _measure(spec: NetworkSpec, plan: Plan, recipe: Recipe, labels: int) -> float:
    """Return the seconds of a step with the augmentation of its batch.

    If there are readers, they augment while the step runs, so the longer of both counts.
    """
    random = torch.get_rng_state()
    try:
        network = to_device(spec.build(), recipe.device)
        optimizer = recipe.make_optimizer(network.parameters())
        schedule = recipe.make_schedule(optimizer, recipe.settings.total_steps)
        state = TrainingState(network, optimizer, schedule, recipe.settings)
        batch = Batch(
            torch.randn(plan.batch, spec.shape.in_channels, *plan.patch),
            torch.randint(labels, (plan.batch, *plan.patch)),
            ("noise",) * plan.batch,
        )
        spent = []
        for _ in range(1 + _STEPS):
            started = time.perf_counter()
            state.update(batch, recipe.loss, recipe.settings.clip_norm)
            spent.append(time.perf_counter() - started)
    finally:
        torch.set_rng_state(random)
    step, augmenting = median(spent[1:]), _augmenting(plan, recipe, spec.shape.in_channels)
    return max(step, augmenting) if readers_beside(recipe.device) else step + augmenting


def _augmenting(plan: Plan, recipe: Recipe, channels: int) -> float:
    margin = recipe.augment.margin(plan.patch, plan.spacing)
    chain = Augment(recipe.augment, patch=plan.patch, spacing=plan.spacing, oriented=plan.oriented)
    device = augmenting_device(recipe.device)
    image = torch.zeros(plan.batch, channels, *margin, device=device)
    label = torch.zeros(plan.batch, *margin, dtype=torch.uint8, device=device)
    started = time.perf_counter()
    for step in range(_BATCHES):
        changes = chain.draw(plan.batch, channels, np.random.default_rng(step))
        changed, _ = chain.apply(image.clone(), label, changes)
    changed.sum().item()  # waits until a GPU has finished
    return (time.perf_counter() - started) / _BATCHES
