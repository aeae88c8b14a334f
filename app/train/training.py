"""The decisions of a run before its first step: how it trains and evaluates, and on which cases."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import ParamsT

from app.core import run_folder
from app.core.plan import Plan
from app.core.task import Task
from app.data.prepare.cached_case import CachedCase
from app.data.sample.augment_settings import AugmentSettings
from app.data.sample.batches import BatchSource
from app.data.sample.split import Split
from app.infer.window.sliding import SlidingSettings
from app.metrics.score import Columns
from app.models.checkpoint import Checkpoint, Locator, Weights
from app.models.network import NetworkSpec, to_device
from app.train.fine_tuning import Origin
from app.train.layer_rates import freeze, parameter_groups, scale_rates
from app.train.machine.processes import ALONE, Processes
from app.train.metrics_csv import MetricsRow
from app.train.settings import TrainSettings
from app.train.state import LossFunction, TrainingState

_LEFT_RIGHT = 2  # the axis of (D, H, W) that points to the right


@dataclass(frozen=True)
class Recipe:
    """The settings of training and evaluation, independent of the data."""

    settings: TrainSettings
    augment: AugmentSettings
    sliding: SlidingSettings
    """Placement of windows in the final evaluation, and in prediction unless set otherwise."""
    loss: LossFunction
    make_optimizer: Callable[[ParamsT], torch.optim.Optimizer]
    """A function that returns the optimizer for parameters or groups of parameters."""
    make_schedule: Callable[[torch.optim.Optimizer, int], LRScheduler]
    """A function that returns the schedule for an optimizer and its number of steps."""
    device: torch.device
    seed: int = 0
    """Seed of the weights, the patches and the augmentation."""
    nsd_tolerance_mm: float = 2.0
    strata: Columns = field(default_factory=dict)
    """Columns by which scores are grouped, such as a site or a scanner."""
    rate_key: str = "optimizer.lr"
    """The setting of the learning rate, named in messages."""
    measure_speed: bool = False
    """Whether to measure the machine's speed before and after, to express time in steps of nnU-Net."""

    def following(self, plan: Plan) -> "Recipe":
        """Return the recipe with the plan's augmentation strength and without flips that it forbids."""
        recipe = replace(self, augment=self.augment.planned(plan.augment))
        if plan.mirror != ():
            return recipe
        return replace(
            recipe,
            augment=replace(recipe.augment, flip_axes=_without(recipe.augment.flip_axes)),
            sliding=replace(self.sliding, mirror_axes=_without(self.sliding.mirror_axes)),
        )


@dataclass(frozen=True)
class Training:
    """A training with everything that is decided before its first step."""

    folder: Path
    recipe: Recipe
    settings: TrainSettings
    """Settings of the recipe, with the number of steps filled in."""
    task: Task
    plan: Plan
    split: Split
    network: NetworkSpec
    batches: BatchSource
    cached: Mapping[str, CachedCase]
    facts: Mapping[str, Any]
    """Names of the chosen parts, for summary.json."""
    resumed: bool = False
    processes: Processes = ALONE
    locator: Locator | None = None
    """The trained first stage, if the plan has one."""
    joining_mm: float | None = None
    """As in Checkpoint."""
    origin: Origin | None = None
    """The network whose weights a new run begins with; None for fresh weights."""
    follow: Callable[[Sequence[MetricsRow]], None] = lambda history: None
    """Called with the history after every epoch."""
    begun: Callable[[], None] = lambda: None
    """Called when all checks have passed, directly before training."""

    @property
    def resumes_at(self) -> Path:
        """The folder to pass to train.resume: the run's own, also while its first stage trains."""
        return self.folder.parent if self.folder.name == run_folder.LOCATE else self.folder

    @property
    def resumes_by(self) -> str:
        """The override that resumes the run, quoted for a shell."""
        return shlex.quote(f"train.resume={self.resumes_at}")

    def state(self, network: nn.Module) -> TrainingState:
        """Return the state of a training of this network before its first step."""
        freeze(network, self.settings.freeze)
        groups, rates = parameter_groups(network, self.network, self.plan.patch, self.settings.layer_decay)
        optimizer = self.recipe.make_optimizer(groups)
        schedule = self.recipe.make_schedule(optimizer, self.settings.total_steps)
        if self.settings.layer_decay is not None:
            scale_rates(schedule, rates)
        return TrainingState(network, optimizer, schedule, self.settings, self.processes)

    def state_of(self, weights: Weights) -> TrainingState:
        """Return the state of a training of a network with these weights before its first step."""
        network = self.network.build()
        network.load_state_dict(weights)
        return self.state(to_device(network, self.recipe.device))

    def checkpoint(self, state: TrainingState) -> Checkpoint:
        """Return the state as a checkpoint."""
        weights, averaged, training = state.export()
        return Checkpoint(
            network=self.network,
            plan=self.plan,
            modalities=self.task.modalities,
            labels=self.task.segmented,
            weights=weights,
            averaged=averaged,
            training=training,
            flip_axes=self.recipe.augment.flip_axes,
            locator=self.locator,
            reading=self.task.reading,
            joining_mm=self.joining_mm,
            values=self.task.values,
        )


def _without(axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return axes of (D, H, W) without the one that points to the right."""
    return tuple(axis for axis in axes if axis != _LEFT_RIGHT)
