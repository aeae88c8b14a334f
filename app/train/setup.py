"""Preparation of a training before its first step: plan, folds, network and batches, saved in its folder."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import write_json
from app.core.layout import write_layout
from app.core.machine import usable_cores
from app.core.plan import Plan, read_plan, write_plan
from app.core.task import Task
from app.data.plan.fingerprint import read_fingerprint
from app.data.plan.settings import PlanSettings
from app.data.plan.stages import prepared_share
from app.data.prepare.cache import Cache
from app.data.prepare.cached_case import CachedCase
from app.data.sample.label_volumes import case_labels, label_volumes
from app.data.sample.split import Folds, Split, split_cases
from app.layers.device_policy import choose_precision
from app.models.checkpoint import Checkpoint, Locator, read_checkpoint
from app.models.network import NetworkSpec
from app.train.fine_tuning import Origin, keep_origin, kept_origin, warn_of_seen
from app.train.inputs import make_batches, prepare_cases
from app.train.joining import learn_joining
from app.train.label_presence import warn_of_absent, warn_of_vanished
from app.train.locate import train_first_stage
from app.train.machine.environment import environment
from app.train.machine.processes import ALONE, Processes
from app.train.machine.torchrun import local_count
from app.train.planning import BuildNetwork, plan_for
from app.train.split_record import recorded_split, refuse_changed, write_split
from app.train.training import Recipe, Training

log = logging.getLogger(__name__)


def open_cache(folder: Path, task: Task, scratch: Path | None = None) -> Cache:
    """Return the cache of a task's prepared cases, filled by one thread per core.

    With `scratch`, cases are copied to that folder and read from there.
    """
    workers = max(1, len(usable_cores()) // local_count())
    return Cache(folder, task, workers=workers, scratch=scratch)


@dataclass(frozen=True)
class Start:
    """How a run begins: as a new one, resumed, as another run did, or with the weights of another network."""

    resumed: bool = False
    """Whether the run continues. It keeps its plan, because the memory here may differ from that of the first
    machine, and the network of its checkpoint."""
    like: Path | None = None
    """The run folder whose plan, folds and first stage are used."""
    origin: Origin | None = None
    """The network whose weights a new run and its first stage begin with; they are copied into the folder.

    A run that resumes without a checkpoint reads this copy, never the original.
    """
    announce: Callable[[], None] = lambda: None
    """Called before a first stage is trained: from then on the run can be resumed."""


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
    start: Start = Start(),
    processes: Processes = ALONE,
    factor: int = 1,
) -> Training:
    """Plan, split and prepare; write everything known before the first step into a new run's folder.

    - The training takes `factor` times the steps.
    - With several processes the leading one decides and writes; the others wait and read.
    - If the plan has a first stage, it is trained here.

    Raises:
        InputError: the data or a setting is wrong, or a resumed run would hold out other cases.
    """
    choose_precision(recipe.settings.precision, recipe.device)  # raises now, not after the preparation
    setup = _Setup(folder, task, recipe, cache, folds, start, processes)
    plan, split, network, before = setup.decide(plan_settings, build_network)
    origin = None if before is not None or start.like is not None else kept_origin(folder)
    locator = setup.first_stage(plan, split, origin, before)
    cached = setup.prepare(plan, split, locator)
    recipe = recipe.following(plan)
    planned_minutes = plan.train_minutes if start.like is None else None
    settings = recipe.settings.in_minutes(planned_minutes).with_steps(plan.steps, factor=factor)
    cases = [cached[case.id] for case in split.training]
    batches = make_batches(cases, plan, task, recipe=recipe, settings=settings, processes=processes)
    return Training(
        folder=folder,
        recipe=recipe,
        settings=settings,
        task=task,
        plan=plan,
        split=split,
        network=network,
        batches=batches,
        cached=cached,
        facts=facts,
        resumed=before is not None,
        processes=processes,
        locator=locator,
        joining_mm=learn_joining(split, task, plan, cached) if before is None else before.joining_mm,
        origin=origin,
    )


@dataclass(frozen=True)
class _Setup:
    """The parts of a training that all steps of its preparation need."""

    folder: Path
    task: Task
    recipe: Recipe
    cache: Cache
    folds: Folds
    start: Start
    processes: Processes

    def decide(
        self, settings: PlanSettings, build: BuildNetwork
    ) -> tuple[Plan, Split, NetworkSpec, Checkpoint | None]:
        """Return plan, split and network, written if new, and the checkpoint that a resumed run has."""
        if not self.processes.leads:
            self.processes.agree(None)
        decided = self.start.resumed or not self.processes.leads
        known = self.folder if decided else self.start.like
        plan, reasons = self._choose_plan(known, settings, build)
        split = self._choose_split(known)
        before = self._checkpoint() if self.start.resumed else None
        network = build(plan) if before is None else before.network
        if not decided:
            self._write_facts(plan, split, network, reasons)
        if self.processes.leads:
            self.processes.agree(None)
        return plan, split, network, before

    def _choose_plan(
        self, known: Path | None, settings: PlanSettings, build: BuildNetwork
    ) -> tuple[Plan, dict[str, str]]:
        """Return the plan of a known run folder, or a new one, and its reasons.

        Raises:
            InputError: there is none, or the processes cannot share its batch evenly.
        """
        if known is not None:
            plan, reasons = _read_plan(known, settings)
        else:
            plan, reasons = plan_for(self.task, self.cache, settings, build=build, recipe=self.recipe)
            if plan.minutes is not None:
                log.info("planned for about %g minutes: %s", plan.minutes, reasons["minutes"])
            log.info("planned batch: %s", reasons["batch"])
        count = self.processes.count
        if plan.batch % count:
            raise InputError(
                f"plan.batch: got {plan.batch}, wanted a multiple of {count}, the number of processes"
            )
        return plan, reasons

    def _choose_split(self, known: Path | None) -> Split:
        """Return the split of a known run folder, or a new one.

        Raises:
            InputError: the data of a resumed run have changed, or no case is held out for early stopping.
        """
        split = draw_split(self.task, self.folds, self.cache)
        if known is not None:
            split = recorded_split(known, split, self.task)
        if self.start.resumed and self.processes.leads:
            _refuse_changed_data(self.folder, self.task, split, self.cache)
        patience = self.recipe.settings.patience
        if not split.validation and patience is not None:  # stopping early needs validation Dice
            raise InputError(f"train.patience: got {patience}, but no case is held out to score")
        return split

    def _checkpoint(self) -> Checkpoint | None:
        """Return the run's last checkpoint; None if it has none yet."""
        last = self.folder / run_folder.LAST
        return read_checkpoint(last) if last.is_file() else None

    def _write_facts(
        self, plan: Plan, split: Split, network: NetworkSpec, reasons: Mapping[str, str]
    ) -> None:
        """Write the files of a run that are known before its first step."""
        folder, digests, origin = self.folder, self.cache.digests(), self.start.origin
        keep_origin(folder, origin)
        if origin is not None:
            warn_of_seen(origin, (*split.validation, *split.test), digests)
        write_json(folder / run_folder.ENVIRONMENT, environment(self.cache.data_hash()))
        write_json(folder / run_folder.FINGERPRINT, read_fingerprint(self.cache).to_dict())
        write_plan(folder / run_folder.PLAN, plan, reasons)
        layout = network.layout()
        if layout is not None:
            write_layout(folder / run_folder.LAYOUT, layout)
        write_split(folder, split, self.task, digests)

    def first_stage(
        self, plan: Plan, split: Split, origin: Origin | None, before: Checkpoint | None
    ) -> Locator | None:
        """Return the known first stage, or train or resume the plan's; None if it has none."""
        known = _known_locator(before, self.start.like)
        if known is not None or plan.locate is None:
            return known
        if self.processes.leads:
            self.cache.check_space(plan, prepared_share(read_fingerprint(self.cache), plan))
        self.start.announce()
        return train_first_stage(
            self.folder,
            self.task,
            self.recipe,
            plan.locate,
            split=split,
            split_seed=self.folds.seed,
            cache=self.cache,
            processes=self.processes,
            origin=None if origin is None else origin.first_stage(),
        )

    def prepare(self, plan: Plan, split: Split, locator: Locator | None) -> Mapping[str, CachedCase]:
        """Return the prepared cases: whole scans, or with a first stage the region that it finds.

        A new run warns of labels that no training case has, or that the plan's grid loses.
        """
        share = 1.0 if plan.locate is None else prepared_share(read_fingerprint(self.cache), plan)
        margin_mm = None if locator is None else locator.margin_mm
        cached = prepare_cases(self.cache, plan, margin_mm, share, self.processes)
        if self.processes.leads and not self.start.resumed:
            warn_of_absent(self.task, split, label_volumes(self.cache))
            warn_of_vanished(self.task, plan, case_labels(self.cache), cached)
        return cached


def _known_locator(before: Checkpoint | None, like: Path | None) -> Locator | None:
    """Return the first stage of a checkpoint, or else of the run `like`; None if there is none."""
    if before is None and like is not None:
        before = read_checkpoint(like / run_folder.LAST)
    return None if before is None else before.locator


def _refuse_changed_data(folder: Path, task: Task, split: Split, cache: Cache) -> None:
    """Refuse to resume on other data than the run began with; record where its files are now."""
    if (folder / run_folder.SPLIT).is_file():
        refuse_changed(folder, task, cache.digests(), cache.data_hash())
        write_split(folder, split, task, cache.digests())


def _read_plan(folder: Path, settings: PlanSettings) -> tuple[Plan, dict[str, str]]:
    """Return the run's own plan; older versions stored a foreground share that was set outside the plan."""
    plan, reasons = read_plan(folder / run_folder.PLAN)
    share = settings.foreground_share
    return plan if share is None else replace(plan, foreground_share=share), reasons


def draw_split(task: Task, folds: Folds, cache: Cache) -> Split:
    """Return the split; a scan that occurs in two groups is logged and kept on one side of the split."""
    duplicates = read_fingerprint(cache).duplicates
    for alike in duplicates:
        if len({folds.group.key(case) if folds.group else case for case in alike}) > 1:
            log.warning("cases %s hold the same scan and are kept in one fold", ", ".join(alike))
    volumes = label_volumes(cache) if folds.stratify else None
    return split_cases(task.cases, folds, duplicates=duplicates, test=task.test, volumes=volumes)
