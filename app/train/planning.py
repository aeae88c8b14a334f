"""The plan of a training, derived from the data, the device and the available time."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from app.core.errors import InputError
from app.core.listed import listed
from app.core.plan import Plan
from app.core.task import Task
from app.core.types import Spacing
from app.data.plan.ceiling import read_ceilings
from app.data.plan.fingerprint import Fingerprint, read_fingerprint
from app.data.plan.fit_memory import MemoryBudget, plan_within
from app.data.plan.in_time import Pace, plan_in_time
from app.data.plan.planner import make_plan
from app.data.plan.settings import PlanSettings
from app.data.plan.stages import Ceilings, plan_in_two_stages, short, with_augment
from app.data.prepare.cache import Cache
from app.layers.device_policy import free_bytes
from app.models.network import NetworkSpec
from app.train.locate import coarse_network, coarse_recipe, found_in
from app.train.machine.torchrun import local_count, process_count
from app.train.step_memory import process_peak_bytes, step_bytes
from app.train.step_speed import step_seconds
from app.train.training import Recipe
from app.train.validate import expected_share

BuildNetwork = Callable[[Plan], NetworkSpec]

_SHARE = 0.7  # share of memory for a training; the rest is for the system, other programs and the file cache
_MINUTES = {"cpu": 30.0, "cuda": 240.0, "mps": 60.0}  # values of plan.minutes=auto
_START_SECONDS = 15.0  # for starting Python and its packages, planning, and the report at the end
_PASSES = 3  # a training step takes as long as this many forward passes
_WANTED = 0.95  # mean Dice of a label that its references should keep on the grid
# Seconds per voxel of a held-out scan, and more for each label, to segment and score it on its own grid; from
# four scans of 256x256x256 voxels with 3 and 117 labels (tests/benchmarks/many_classes.py).
_VOXEL_SECONDS, _LABEL_SECONDS = 4e-7, 6e-9

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """The data that a plan follows from, besides settings, device and time."""

    fingerprint: Fingerprint
    ceilings: Ceilings
    speeds: Path
    """The file of measured step times."""


def plan_for(
    task: Task, cache: Cache, settings: PlanSettings, *, build: BuildNetwork, recipe: Recipe
) -> tuple[Plan, dict[str, str]]:
    """Return the plan for the data, device, memory and time, and the reason for each of its values.

    Values that the settings fix are kept.

    Raises:
        InputError: settings that contradict each other, the data or the memory.
    """
    fingerprint = read_fingerprint(cache)
    for line in fingerprint.warnings:
        log.warning("%s", line)
    kept: dict[Spacing, tuple[float | None, ...]] = {}

    def ceilings(grids: Sequence[Spacing]) -> list[float]:
        kept.update(zip(grids, read_ceilings(cache, grids), strict=True))
        return [_mean(kept[grid]) for grid in grids]

    facts = Facts(fingerprint, ceilings, cache.speeds)
    plan, reasons = plan_from(facts, task, settings, build=build, recipe=recipe)
    _warn_of_loss(task, plan.spacing, kept.get(plan.spacing, ()))
    return plan, reasons


def plan_from(
    facts: Facts, task: Task, settings: PlanSettings, *, build: BuildNetwork, recipe: Recipe
) -> tuple[Plan, dict[str, str]]:
    """Return the result of `plan_for` from facts that are already known.

    Raises:
        InputError: settings that contradict each other, the data or the memory.
    """
    estimate = _Estimate(facts, task, settings, build, recipe)
    if estimate.on_gpu and settings.device is None:
        settings = replace(settings, device={"kind": "cuda", "memory_gb": None, "gmac_per_s": None})
    fingerprint, described = facts.fingerprint, settings.device
    device = recipe.device.type if described is None else str(described["kind"])
    minutes = _minutes(settings, recipe, device, estimate.other_seconds)
    make = partial(plan_in_two_stages if settings.stages == 2 else make_plan, fingerprint, task)
    if minutes is not None:
        pace, ceilings = estimate.pace(), facts.ceilings
        make = partial(plan_in_time, fingerprint, task, minutes=minutes, pace=pace, ceilings=ceilings)
    budget = MemoryBudget(estimate.limit_bytes, estimate.predict_bytes)
    plan, reasons = plan_within(make, fingerprint, task, settings, budget)
    clocked = recipe.settings.max_minutes is not None
    steps = None if clocked else recipe.settings.steps or plan.steps
    plan, reasons["augment"] = with_augment(plan, fingerprint, steps)
    for name, value in plan.to_dict().items():
        log.debug("plan: %s %s: %s", name, value, reasons[name])
    return plan, reasons


class _Estimate:
    """Memory and time of a training, on this machine or on the device that plan.device describes."""

    def __init__(
        self, facts: Facts, task: Task, settings: PlanSettings, build: BuildNetwork, recipe: Recipe
    ) -> None:
        self._facts = facts
        self._task = task
        self._described = settings.device
        self._build = build
        self._recipe = recipe
        self.on_gpu = settings.on_gpu if self._described else recipe.device.type == "cuda"
        self.limit_bytes = _memory_limit(settings, recipe.device, on_gpu=self.on_gpu)
        self.other_seconds = _other_seconds(facts.fingerprint, task)

    def predict_bytes(self, plan: Plan) -> int:
        """Return the bytes that a training of a plan takes.

        Raises:
            InputError: the network cannot be built for the plan.
        """
        return self._bytes(self._build(plan), plan)

    def pace(self) -> Pace:
        """Return what plans are compared by: seconds per step, seconds besides the steps, and memory."""
        return Pace(
            step_seconds=lambda plan: self._seconds(self._network(plan), plan, self._recipe),
            coarse_seconds=self._coarse_seconds,
            validation=lambda plan, patches: expected_share(self._recipe.settings, plan.batch, patches),
            other_seconds=self.other_seconds,
            fits=lambda plan: self._bytes(self._network(plan), plan) <= self.limit_bytes,
        )

    def _coarse_seconds(self, plan: Plan) -> float:
        network = coarse_network(found_in(self._task), plan)
        return self._seconds(network, plan, coarse_recipe(self._recipe, self._task))

    def _network(self, plan: Plan) -> NetworkSpec:
        try:
            return self._build(plan)
        except InputError:  # the layout is for another plan: estimate with a network like it
            return coarse_network(self._task, plan)

    def _bytes(self, network: NetworkSpec, plan: Plan) -> int:
        measure = step_bytes if self.on_gpu else process_peak_bytes
        return measure(network, plan, self._recipe.loss, process_count())

    def _seconds(self, network: NetworkSpec, plan: Plan, recipe: Recipe) -> float:
        """Return the seconds of an optimizer step: measured here, or derived for the described device.

        Each of several processes trains on its part of the batch.
        """
        accumulate = recipe.settings.accumulate
        plan = replace(plan, batch=math.ceil(plan.batch / process_count()))
        if not self._described:
            labels = len(self._task.labels)
            return accumulate * step_seconds(network, plan, recipe, self._facts.speeds, labels=labels)
        macs = plan.batch * accumulate * network.cost(plan.patch).macs
        return _PASSES * macs / (1e9 * float(self._described["gmac_per_s"]))


def _minutes(settings: PlanSettings, recipe: Recipe, kind: str, other_seconds: float) -> float | None:
    """Return the minutes to plan for; None if steps or a time limit are set, or no time is asked for.

    With `minutes=auto`, training gets at least as long as everything else, which takes `other_seconds`.
    """
    train = recipe.settings
    if settings.steps is not None or train.steps is not None or train.max_minutes is not None:
        if isinstance(settings.minutes, int | float):
            found = {"plan.steps": settings.steps, "train.steps": train.steps}
            by = next((key for key, value in found.items() if value is not None), "train.max_minutes")
            log.warning("plan.minutes: %g has no effect, because %s is set", settings.minutes, by)
        return None
    if settings.minutes == "auto":
        return max(_MINUTES[kind], 2 * other_seconds / 60)
    minutes: float | None = settings.minutes
    return minutes


def _other_seconds(fingerprint: Fingerprint, task: Task) -> float:
    """Return the seconds besides training: every case is read twice, a fifth of them is evaluated."""
    voxels = math.prod(fingerprint.median_size) * len(task.modalities)
    reading = fingerprint.cases * voxels * 1e-6
    a_voxel = _VOXEL_SECONDS + _LABEL_SECONDS * len(task.labels)
    judging = fingerprint.cases / 5 * math.prod(fingerprint.median_size) * a_voxel
    return _START_SECONDS + reading + judging


def _mean(labels: tuple[float | None, ...]) -> float:
    known = [value for value in labels if value is not None]
    return sum(known) / len(known) if known else 1.0


def _warn_of_loss(task: Task, grid: Spacing, kept: Sequence[float | None]) -> None:
    """Warn of labels whose references keep a Dice below _WANTED on a grid; `kept` has the Dice of each label.

    It is empty if it was not computed.
    """
    known = [(dice, name) for dice, name in zip(kept, task.foreground, strict=False) if dice is not None]
    low = [f"{name} {dice:.2f}" for dice, name in sorted(known) if dice < _WANTED]
    if low:
        log.warning(
            "planned grid of %s mm: even a perfect prediction on it has a mean Dice below %g for %s; more "
            "plan.minutes or a finer plan.spacing would allow more",
            *(short(grid), _WANTED, listed(low)),
        )


def _memory_limit(settings: PlanSettings, device: torch.device, *, on_gpu: bool) -> int:
    """Return the bytes that a training may use in one of the processes on this machine."""
    if settings.memory_gb:
        limit = round(settings.memory_gb * 1e9)
    elif settings.device is not None and settings.device["memory_gb"]:
        limit = round(_SHARE * 1e9 * float(settings.device["memory_gb"]))
    else:
        limit = round(_SHARE * free_bytes(device))
    return limit if on_gpu else limit // local_count()
