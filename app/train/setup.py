"""What a training decides before its first step: plan, folds, network and batches, written to its folder."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.layout import write_layout
from app.core.machine import memory_bytes, usable_cores
from app.core.plan import Plan, read_plan, write_plan
from app.core.task import GroupRule, Task
from app.data.plan.fingerprint import read_fingerprint
from app.data.plan.fit_memory import MemoryBudget, plan_within
from app.data.plan.planner import PlanSettings
from app.data.prepare.cache import Cache, CachedCase
from app.data.sample.augment import Augment
from app.data.sample.batches import BatchSource
from app.data.sample.patches import PatchSampler
from app.data.sample.split import Split, split_cases
from app.models.checkpoint import read_checkpoint
from app.models.network import NetworkSpec
from app.train.machine.environment import environment
from app.train.machine.processes import ALONE, Processes
from app.train.machine.torchrun import local_count, process_count
from app.train.precision import choose_precision
from app.train.run import Recipe, Training
from app.train.settings import TrainSettings
from app.train.state import Loss
from app.train.step_memory import process_peak_bytes, step_bytes

BuildNetwork = Callable[[Plan], NetworkSpec]

_SHARE = 0.7  # of the memory, for a training; the rest is for the system, other programs and the file cache

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folds:
    """Which fold of how many is held out; `seed` shuffles the cases, groups of which stay together."""

    fold: int
    folds: int
    seed: int
    group: GroupRule | None = None


def open_cache(folder: Path, task: Task) -> Cache:
    """Return the cache of a task's prepared cases, filled by one thread per core."""
    return Cache(folder, task, workers=len(usable_cores()))


def plan_for(
    task: Task,
    cache: Cache,
    settings: PlanSettings,
    *,
    build: BuildNetwork,
    loss: Loss,
    device: torch.device,
) -> tuple[Plan, dict[str, str]]:
    """Return what follows from the data and the memory, unless it is set, and the reason for each value.

    Raises:
        InputError: settings that contradict each other, the data or the memory.
    """
    on_gpu = device.type == "cuda"

    def predict(plan: Plan) -> int:
        measure = step_bytes if on_gpu else process_peak_bytes
        return measure(build(plan), plan, loss, process_count())

    limit = round(settings.memory_gb * 1e9) if settings.memory_gb else round(_SHARE * _memory_bytes(device))
    limit = limit if on_gpu else limit // local_count()
    plan, reasons = plan_within(read_fingerprint(cache), task, settings, MemoryBudget(limit, predict))
    for name, value in plan.to_dict().items():
        log.debug("plan: %s %s: %s", name, value, reasons[name])
    return plan, reasons


def open_training(
    folder: Path,
    task: Task,
    recipe: Recipe,
    *,
    cache: Cache,
    plan_settings: PlanSettings,
    folds: Folds,
    build_network: BuildNetwork,
    facts: Mapping[str, Any],
    resumed: bool = False,
    processes: Processes = ALONE,
    factor: int = 1,
) -> Training:
    """Plan, prepare and split; a new run's folder gets all that is known before the first step.

    A resumed run keeps its plan, as the memory here may differ from where it was made, and the network of
    its checkpoint. The training takes `factor` times the steps. Of several processes the leading one decides
    and writes; the others wait and read.

    Raises:
        InputError: the data or a setting is wrong, or a resumed run would hold out other cases.
    """
    choose_precision(recipe.settings.precision, recipe.device)  # refused now, not after the preparation
    if not processes.leads:
        processes.agree(None)
    planned = resumed or not processes.leads
    plan, reasons = (
        _read_plan(folder, plan_settings)
        if planned
        else plan_for(task, cache, plan_settings, build=build_network, loss=recipe.loss, device=recipe.device)
    )
    if plan.batch % processes.count:
        raise InputError(
            f"plan.batch: got {plan.batch}, wanted a multiple of {processes.count}, the number of processes"
        )
    split = split_cases(task.cases, fold=folds.fold, folds=folds.folds, seed=folds.seed, group=folds.group)
    if planned:
        _refuse_other_cases(folder / run_folder.SPLIT, split, task)
    settings = recipe.settings.with_steps(plan.steps, factor=factor)
    cached = cache.prepare(plan)
    training = [cached[case.id] for case in split.training]
    opened = Training(
        folder=folder,
        recipe=recipe,
        settings=settings,
        task=task,
        plan=plan,
        split=split,
        network=read_checkpoint(folder / run_folder.LAST).network if resumed else build_network(plan),
        batches=make_batches(
            training, plan, len(task.labels), recipe=recipe, settings=settings, processes=processes
        ),
        cached=cached,
        facts=facts,
        resumed=resumed,
        processes=processes,
    )
    if not planned:
        _write_facts(opened, reasons, cache)
    if processes.leads:
        processes.agree(None)
    return opened


def make_batches(
    cases: Sequence[CachedCase],
    plan: Plan,
    label_count: int,
    *,
    recipe: Recipe,
    settings: TrainSettings,
    processes: Processes = ALONE,
) -> BatchSource:
    """Return augmented patches of prepared cases: for each step those that this process takes."""
    sampler = PatchSampler(
        cases,
        size=plan.patch,
        margin=recipe.augment.margin(plan.patch, plan.spacing),
        batch=plan.batch * settings.accumulate,
        foreground_share=plan.foreground_share,
        seed=recipe.seed,
    )
    chain = Augment(recipe.augment, patch=plan.patch, spacing=plan.spacing, label_count=label_count)
    places = processes.places(sampler.batch, settings.accumulate)
    # Beside a step that takes all cores a thread holds it up by more than a batch takes: 45 ms for 14 here.
    taken = torch.get_num_threads() * local_count()
    spare = recipe.device.type != "cpu" or taken < len(usable_cores())
    return BatchSource(sampler, chain, seed=recipe.seed, places=places, apart=spare)


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return memory_bytes()


def _read_plan(folder: Path, settings: PlanSettings) -> tuple[Plan, dict[str, str]]:
    """The run's own plan; runs of before kept a foreground share that was set beside it."""
    plan, reasons = read_plan(folder / run_folder.PLAN)
    share = settings.foreground_share
    return plan if share is None else replace(plan, foreground_share=share), reasons


def _write_facts(this: Training, reasons: Mapping[str, str], cache: Cache) -> None:
    """Everything except results, before the first step."""
    write_json(this.folder / run_folder.ENVIRONMENT, environment(cache.data_hash()))
    write_json(this.folder / run_folder.FINGERPRINT, read_fingerprint(cache).to_dict())
    write_plan(this.folder / run_folder.PLAN, this.plan, reasons)
    layout = this.network.layout()
    if layout is not None:
        write_layout(this.folder / run_folder.LAYOUT, layout)
    split = this.split
    files = {case.id: {"image": str(case.image), "label": str(case.label)} for case in this.task.cases}
    write_json(this.folder / run_folder.SPLIT, {"fold": split.fold, **_sides(split), "files": files})


def _sides(split: Split) -> dict[str, list[str]]:
    """The ids of training and held-out cases, as in split.json."""
    return {
        "train": [case.id for case in split.training],
        "validation": [case.id for case in split.validation],
    }


def _refuse_other_cases(path: Path, split: Split, task: Task) -> None:
    """Cases that a run has trained on must not be held out when it resumes."""
    before, now = read_json(path), _sides(split)
    if all(before[side] == now[side] for side in now):
        return
    known, found = ({case for side in now for case in cases[side]} for cases in (before, now))
    crossed = len(set(before["train"]) & set(now["validation"]))
    raise InputError(
        f"task.folder: {task.folder or task.name}: its cases are not those of {path}: "
        f"{len(found - known)} are new, {len(known - found)} are gone, {crossed} that trained would be held "
        "out; put the data set back as it was, or begin a new run"
    )
