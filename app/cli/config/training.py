"""A training from its configuration: what is decided before the first step, and the steps themselves."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from app.cli.config.build import (
    BuildNetwork,
    build_batches,
    build_cache,
    build_device,
    build_optimizer,
    build_plan,
    build_sliding,
    build_tracker,
)
from app.cli.config.environment import environment
from app.cli.config.run_config import as_planned, open_run, write_config
from app.cli.config.settings import train_settings
from app.cli.config.speed_record import note_speed
from app.cli.config.task import TaskSettings, open_task
from app.core import run_folder
from app.core.errors import InputError, Interrupted
from app.core.files import read_json, write_json
from app.core.layout import write_layout
from app.core.plan import Plan, read_plan, write_plan
from app.core.task import Task
from app.data.plan.fingerprint import read_fingerprint
from app.data.prepare.cache import Cache, CachedCase
from app.data.sample.batches import BatchSource
from app.data.sample.split import Split, split_cases
from app.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from app.models.network import NetworkSpec, to_device
from app.search.inherit import inherit_search
from app.track.tracker import RunFolder, Tracker
from app.train.loop import limit, train
from app.train.metrics_csv import write_metrics
from app.train.precision import choose_precision
from app.train.processes import ALONE, Processes
from app.train.settings import TrainSettings
from app.train.state import Loss, TrainingState
from app.train.validate import affordable, validation_dice

log = logging.getLogger(__name__)

MakeLoss = Callable[[nn.Module], Loss]
"""A network -> its loss; most losses do not look at the network."""


@dataclass(frozen=True)
class Training:
    """What a run has decided before it trains."""

    cfg: DictConfig
    folder: Path
    device: torch.device
    task: Task
    facts: TaskSettings
    plan: Plan
    split: Split
    network: NetworkSpec
    settings: TrainSettings
    batches: BatchSource
    cached: Mapping[str, CachedCase]
    resumed: bool
    tracker: Tracker
    processes: Processes

    def checkpoint(self, state: TrainingState) -> Checkpoint:
        """The state as it goes to disk."""
        weights, averaged, training = state.export()
        return Checkpoint(
            network=self.network,
            plan=self.plan,
            modalities=self.task.modalities,
            labels=self.task.segmented,
            weights=weights,
            averaged=averaged,
            training=training,
        )


def open_training(
    cfg: DictConfig, build_network: BuildNetwork, processes: Processes = ALONE, *, length: int = 1
) -> Training:
    """Read, plan, prepare and split; a new run's folder gets all that is known before the first step.

    A run that goes on keeps the network of its checkpoint. It takes `length` times the steps asked for. Of
    several processes the leading one does all this; the others wait and then read what it has decided.

    Raises:
        InputError: the data or the configuration is wrong.
    """
    if not processes.leads:
        told: dict[str, Any] = processes.agree({})
        cfg, folder, resumed = DictConfig(told["cfg"]), Path(told["folder"]), told["resumed"]
        return _open(cfg, folder, build_network, processes, resumed=resumed, planned=True)
    folder, cfg, resumed = open_run(cfg)
    opened = _open(cfg, folder, build_network, processes, resumed=resumed, planned=resumed, length=length)
    whole = OmegaConf.to_container(opened.cfg, resolve=True)
    processes.agree({"cfg": whole, "folder": str(folder), "resumed": resumed})
    return opened


def _open(
    cfg: DictConfig,
    folder: Path,
    build_network: BuildNetwork,
    processes: Processes,
    *,
    resumed: bool,
    planned: bool,
    length: int = 1,
) -> Training:
    """A `planned` folder has a plan; it is kept, as the memory here may differ from where it was made.

    Its cases are to be those it was planned with: with others, some it has trained on would be held out.
    """
    device = build_device(cfg)
    choose_precision(cfg.train.get("precision", "fp32"), device)  # refused now, not after the preparation
    task, facts = open_task(cfg)
    cache = build_cache(cfg, task)
    plan, reasons = (
        read_plan(folder / run_folder.PLAN) if planned else build_plan(cfg, task, cache, build_network)
    )
    if plan.batch % processes.count:
        raise InputError(
            f"plan.batch: got {plan.batch}, wanted a multiple of {processes.count}, the number of processes"
        )
    cfg = as_planned(cfg, plan, length=length)
    if not planned:
        write_config(folder, cfg)
    split = split_cases(
        task.cases, fold=cfg.fold, folds=cfg.folds, seed=cfg.split_seed, group=facts.group_rule
    )
    if planned:
        _refuse_other_cases(folder / run_folder.SPLIT, split, facts.folder)
    settings = train_settings(cfg.train)
    network = read_checkpoint(folder / run_folder.LAST).network if resumed else build_network(cfg, task, plan)
    cached = cache.prepare(plan)
    training = [cached[case.id] for case in split.training]
    batches = build_batches(cfg, training, plan, len(task.labels), settings, processes=processes)
    tracker = (
        build_tracker(cfg, folder, going_on=resumed)
        if processes.leads
        else RunFolder(folder, going_on=resumed)
    )
    opened = Training(
        *(cfg, folder, device, task, facts, plan, split, network, settings, batches, cached, resumed),
        *(tracker, processes),
    )
    if not planned:
        _write_facts(opened, reasons, cache)
    return opened


def train_network(this: Training, make_loss: MakeLoss) -> TrainingState:
    """Train, or go on from the run's last checkpoint.

    Raises:
        Interrupted: by the user; the checkpoint is written.
        InputError: the run had used up its time and is given more; or the loss is not finite, or nothing can
            be written, which says what checkpoint there is.
    """
    torch.manual_seed(this.cfg.seed)
    network = to_device(this.network.build(), this.device)
    init = this.cfg.train.get("init")
    if init and not this.resumed:
        inherit_search(network, this.network, read_checkpoint(Path(init) / run_folder.LAST))
    make_optimizer, make_schedule = build_optimizer(this.cfg)
    optimizer = make_optimizer(network.parameters())
    state = TrainingState(network, optimizer, make_schedule(optimizer), this.settings, this.processes)
    if this.resumed:
        state.restore(read_checkpoint(this.folder / run_folder.LAST))
        _refuse_more_time(state, this.settings)
        if this.processes.leads:
            write_config(this.folder, this.cfg)
        log.info("going on at step %d of %d", state.step, this.settings.steps)
    _log_start(this)
    _note_speed(this)
    with _naming_the_checkpoint(this.folder):
        ended = train(
            state,
            this.batches,
            make_loss(network),
            settings=this.settings,
            validate=_validation(this),
            save=partial(_save, this=this),
            stop=lambda: this.processes.agree(this.processes.leads and _take_request(this.folder)),
        )
    log.info("trained %d steps in %.1f min, ended by %s", state.step, state.seconds / 60, ended)
    if ended == "interrupted":
        raise Interrupted(f"interrupted at step {state.step}; go on with train.resume={this.folder}")
    _note_speed(this)
    return state


def _refuse_more_time(state: TrainingState, settings: TrainSettings) -> None:
    """A schedule that ended with the time has no learning rate left."""
    if state.clock >= settings.steps and not limit(state, settings):
        raise InputError(
            f"train.max_minutes: got {settings.max_minutes}, but the learning rate of this run has ended "
            "with its time; leave it out, or begin a new run with more time"
        )


def _note_speed(this: Training) -> None:
    """The leading process measures; the others wait in their first step."""
    if this.processes.leads and this.cfg.train.get("yardstick"):
        note_speed(this.folder, this.device)


@contextmanager
def _naming_the_checkpoint(folder: Path) -> Iterator[None]:
    """Add to what stopped the training where it can go on from."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}; {_checkpoint_of(folder)}") from None


def _checkpoint_of(folder: Path) -> str:
    path = folder / run_folder.LAST
    if not path.is_file():
        return "there is no checkpoint yet"
    step = read_checkpoint(path).training["step"]
    return f"{path} is from step {step}, go on there with train.resume={folder}"


def _take_request(folder: Path) -> bool:
    """Whether `touch <run folder>/stop` asks the training to end after this epoch; removes the file."""
    path = folder / run_folder.STOP
    asked = path.exists()
    path.unlink(missing_ok=True)
    return asked


def _validation(this: Training) -> Callable[[nn.Module], dict[str, float | None]]:
    settings = this.settings
    # Half the usual overlap and no mirroring: a look at the trend, at a fraction of the time.
    sliding = replace(build_sliding(this.cfg), overlap=0.25, mirror_axes=())
    cases = affordable(
        [this.cached[case.id] for case in this.split.validation],
        most=settings.validation_cases,
        patches=min(settings.epoch_steps, settings.steps) * settings.accumulate * this.plan.batch,
        plan=this.plan,
        sliding=sliding,
    )
    return partial(
        validation_dice,
        cases=cases,
        targets=this.task.targets,
        ignore=this.task.ignore,
        plan=this.plan,
        sliding=sliding,
        processes=this.processes,
    )


def _log_start(this: Training) -> None:
    cost = this.network.cost(this.plan.patch)
    log.info(
        "%d training and %d held-out cases, patch %s, batch %d; %.2f M parameters, %.2f GMAC a patch -> %s",
        *(len(this.split.training), len(this.split.validation), list(this.plan.patch), this.plan.batch),
        *(cost.params / 1e6, cost.macs / 1e9, this.folder),
    )


def _save(state: TrainingState, best: bool, *, this: Training) -> None:
    if not this.processes.leads:
        return
    _refuse_broken(state)
    write_metrics(this.folder / run_folder.METRICS, state.history)
    checkpoint = this.checkpoint(state)
    if best:
        write_checkpoint(this.folder / run_folder.BEST, checkpoint)
    write_checkpoint(this.folder / run_folder.LAST, checkpoint)
    this.tracker.follow(state.history)


def _refuse_broken(state: TrainingState) -> None:
    """A finite loss may have had gradients that were not: such weights never replace a checkpoint."""
    for name, values in state.network.state_dict().items():
        if not torch.isfinite(values).all():
            raise InputError(
                f"step {state.step}: got weights that are not finite in {name}; lower optimizer.lr"
            )


def _write_facts(this: Training, reasons: Mapping[str, str], cache: Cache) -> None:
    """Everything but results, before the first step."""
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


def _refuse_other_cases(path: Path, split: Split, data: str) -> None:
    before, now = read_json(path), _sides(split)
    if all(before[side] == now[side] for side in now):
        return
    known, found = ({case for side in now for case in cases[side]} for cases in (before, now))
    crossed = len(set(before["train"]) & set(now["validation"]))
    raise InputError(
        f"task.folder: {data}: its cases are not those of {path}: {len(found - known)} are new, "
        f"{len(known - found)} are gone, {crossed} that trained would be held out; put the data set back as "
        "it was, or begin a new run"
    )
