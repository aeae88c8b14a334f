"""Builders of single objects from the configuration."""

import inspect
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from app.cli.config.objects import build_object, object_of
from app.cli.config.optimizer import build_updates
from app.cli.config.run_config import job_number
from app.cli.config.settings import measures_speed, read_settings, section_values, train_settings
from app.cli.config.strata import read_strata
from app.cli.config.task import TaskSettings
from app.core.errors import InputError
from app.core.layout import Outline, read_layout
from app.core.machine import keep_freed_memory, usable_cores
from app.core.plan import Plan
from app.core.task import Task
from app.data.plan.settings import PlanSettings
from app.data.sample.augment_settings import AugmentSettings
from app.data.sample.partial import partial_labels
from app.infer.window.sliding import SlidingSettings
from app.layers.device_policy import set_up
from app.layers.eca import EcaSettings
from app.losses.external import ExternalLoss, with_weights
from app.losses.losses import SumLoss
from app.losses.targets import Targets
from app.models.model import shape_for
from app.models.network import NetworkSpec, design
from app.models.unet import with_decoder
from app.operators import Operator
from app.operators.attention import Attended
from app.track.tracker import NoTracker, Tracker
from app.train.machine.torchrun import local_count, local_rank
from app.train.planning import BuildNetwork
from app.train.state import LossFunction
from app.train.target_loss import TargetLoss
from app.train.training import Recipe

_DEVICES = ("auto", "cpu", "cuda", "mps")


def set_up_process(cfg: DictConfig) -> None:
    """Set PyTorch's threads and GPU, and how freed memory is kept; call once per process, before a mode.

    Raises:
        InputError: this machine does not have the device, or OMP_NUM_THREADS is not a number.
    """
    keep_freed_memory()
    torch.set_num_threads(threads_of(cfg, len(usable_cores())))
    set_up(choose_device(cfg))


def threads_of(cfg: DictConfig, cores: int) -> int:
    """Return the number of PyTorch's threads in a process that may use `cores` cores.

    Raises:
        InputError: OMP_NUM_THREADS is not a number.
    """
    return int(cfg.threads or _inherited_threads() or cores)


def _inherited_threads() -> int | None:
    """Return the number of threads of the variable OMP_NUM_THREADS; None if it is not set."""
    said = os.environ.get("OMP_NUM_THREADS", "").strip()
    outermost = said.partition(",")[0].strip()  # a list has the threads of each nested region
    if said and not (outermost.isdecimal() and int(outermost) > 0):
        raise InputError(f"OMP_NUM_THREADS: got {said!r}, wanted a whole number from 1, or threads=<number>")
    return int(outermost) if said else None


def choose_device(cfg: DictConfig) -> torch.device:
    """Return the device of this process.

    Raises:
        InputError: this machine does not have the device, or there are more processes than GPUs.
    """
    kind, _, number = str(cfg.device).partition(":")
    if kind not in _DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        raise InputError(f"device: got {cfg.device!r}, wanted one of {', '.join(_DEVICES)} or cuda:<number>")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(kind, True):
        raise InputError(f"device: got {cfg.device}, PyTorch finds no such device on this machine")
    if kind == "mps":
        return torch.device("mps")
    if kind == "cpu" or not available["cuda"]:
        return torch.device("cpu")
    return torch.device("cuda", _gpu(number, torch.cuda.device_count()))


def _gpu(number: str, found: int) -> int:
    """Return the number of this process's GPU among `found`: as set, or by process or job number."""
    if local_count() > found or (number and local_count() > 1):
        raise InputError(
            f"device: got {local_count()} processes on {f'cuda:{number}' if number else f'{found} GPUs'}, "
            "wanted device=cuda and at most one process for each GPU"
        )
    if number and int(number) >= found:
        raise InputError(f"device: got cuda:{number}, wanted a number below {found}, the number of GPUs")
    if number or local_count() > 1:
        return int(number) if number else local_rank()
    return job_number() % found


def build_recipe(cfg: DictConfig, task: Task, facts: TaskSettings) -> Recipe:
    """Return how to train and evaluate, as configured.

    Raises:
        InputError: a setting is wrong, or the command sets a loss that this task does not train with.
    """
    if HydraConfig.initialized():
        refuse_other_loss(HydraConfig.get().overrides.task, task)
    augment = read_settings(AugmentSettings, cfg.augment, "augment")
    make_optimizer, make_schedule = build_updates(cfg)
    return Recipe(
        settings=train_settings(cfg.train),
        augment=augment,
        sliding=build_sliding(cfg, augment.flip_axes),
        loss=build_loss(cfg, task),
        make_optimizer=make_optimizer,
        make_schedule=make_schedule,
        device=choose_device(cfg),
        seed=int(cfg.seed),
        nsd_tolerance_mm=facts.nsd_tolerance_mm,
        strata=read_strata(task, facts, (case.id for case in (*task.cases, *task.test))),
        measure_speed=measures_speed(cfg.train),
    )


def plan_settings(cfg: DictConfig) -> PlanSettings:
    """Return the values of the plan that the user has fixed; levels also by the file of `op.layout`.

    Raises:
        InputError: a setting is wrong, or sets other levels than the file.
    """
    settings = read_settings(PlanSettings, cfg.plan, "plan")
    found = None if cfg.train.get("resume") else _searched_levels(cfg)
    if found is None:
        return settings
    levels: dict[str, Any] = {
        "widths": found.widths,
        "strides": tuple(list(stride) for stride in found.strides),
        "kernels": tuple(list(kernel) for kernel in found.kernels),
    }
    for name, value in levels.items():
        given = getattr(settings, name)
        if given is not None and given != value:
            raise InputError(
                f"plan.{name}: got {given}, but {cfg.op.layout} has {value}; leave out plan.{name}"
            )
    return replace(settings, **levels)


def _searched_levels(cfg: DictConfig) -> Outline | None:
    """Return the levels in the file of `op.layout`, which has some after a search of whole networks."""
    path = cfg.op.get("layout")
    return None if path is None else read_layout(Path(path)).network


def network_builder(cfg: DictConfig, task: Task, operator: Operator | None = None) -> BuildNetwork:
    """Return a function from a plan to a network's spec; `operator` replaces the configured one.

    Raises:
        InputError: an operator's settings are wrong. The returned function raises it if a layout is for
            another network.
    """
    encoder = operator or _build_operator(cfg.op, "op")
    if cfg.decoder_op.get("attention") and "_target_" not in cfg.decoder_op:
        raise InputError(
            "decoder_op.attention: the decoder follows the encoder; set op@decoder_op too, or op.attention"
        )
    decoder = _build_operator(cfg.decoder_op, "decoder_op") if "_target_" in cfg.decoder_op else None
    model = build_object(cfg.model, "model")

    def build(plan: Plan) -> NetworkSpec:
        found = None if operator else _searched_levels(cfg)
        chosen = model if found is None else with_decoder(model, found.decoder_width)
        return design(chosen, shape_for(task, plan), encoder, decoder)

    return build


def build_loss(cfg: DictConfig, task: Task) -> LossFunction:
    """Return the loss for the task's targets, summed over levels of deep supervision with halved weights."""
    from monai.losses.ds_loss import DeepSupervisionLoss  # takes seconds to import and only training needs it

    loss = _configured_loss(cfg, task)
    unknown = partial_labels(task).sets
    if isinstance(loss, SumLoss):
        loss = loss.aimed_at(
            Targets.made(task.segmented, regions=task.regions, ignore=task.ignore, unknown=unknown)
        )
    elif unknown:
        raise InputError(
            f"loss: got {type(loss).__name__}, wanted one of conf/loss whose _target_ is in app.losses: "
            f"{len(partial_labels(task).codes)} cases of {task.name} annotate only some labels"
        )
    elif task.regions or task.ignore is not None:
        loss = TargetLoss(loss, regions=tuple(task.regions.values()), ignore=task.ignore)
    summed: LossFunction = DeepSupervisionLoss(loss)
    return summed


def refuse_other_loss(words: Iterable[str], task: Task) -> None:
    """Check that overrides do not set the loss of the other kind of task, which would have no effect.

    Raises:
        InputError: they do.
    """
    where, other, has = _loss_section(task)
    for word in words:
        if re.match(rf"[+~]*{other}\b(?!_)", word):
            raise InputError(f"{word}: has no effect, because {task.name} has {has}; set {where} instead")


def _loss_section(task: Task) -> tuple[str, str, str]:
    """Return the section of the task's loss, that of other tasks, and what decides it."""
    if task.regions:
        return "region_loss", "loss", "regions (task.regions)"
    return "loss", "region_loss", "labels and no regions"


def _configured_loss(cfg: DictConfig, task: Task) -> LossFunction:
    """Return the configured loss, ours or another library's."""
    where, names = _loss_section(task)[0], task.regions or task.segmented
    values = section_values(cfg[where])
    make = object_of(values, where)
    if make.__module__.startswith(f"{SumLoss.__module__.rpartition('.')[0]}."):
        _refuse_unknown(values, make, where)
        ours: LossFunction = build_object(values, where)
        return ours
    found = with_weights(make, values, list(names), where)
    tensors = {key: found.pop(key) for key in ("weight",) if isinstance(found.get(key), torch.Tensor)}
    return ExternalLoss(instantiate(found, **tensors, _convert_="all"))


def _refuse_unknown(values: dict[str, Any], make: Callable[..., Any], where: str) -> None:
    """Raise an InputError for an option that our loss does not have, such as `weight` of other libraries."""
    known = list(inspect.signature(make).parameters)
    for key, value in values.items():
        if key != "_target_" and key not in known:
            raise InputError(
                f"{where}.{key}: got {value}, but {make.__name__} has no such option, wanted one of "
                f"{', '.join(known)}; {where}.class_weights={{<label>: <factor>}} weighs classes"
            )


def build_sliding(cfg: DictConfig, flipped: Sequence[int]) -> SlidingSettings:
    """Return how windows are placed; unless set, they are mirrored along the axes that training flipped.

    Raises:
        InputError: windows are to be mirrored along an axis that training does not flip.
    """
    values = section_values(cfg.sliding)
    if values["mirror_axes"] is None:
        values["mirror_axes"] = list(flipped)
    sliding = read_settings(SlidingSettings, values, "sliding")
    sliding.check_mirrors(flipped)
    return sliding


def build_tracker(cfg: DictConfig, run: Path, *, resumed: bool) -> Tracker:
    """Return the tracker of the run, which does nothing unless one is configured."""
    chosen = cfg.get("track")  # runs from older versions have no such key
    make: Callable[..., Tracker] = build_object(chosen, "track") if chosen else NoTracker
    return make(run, resumed=resumed)


def _build_operator(section: DictConfig, where: str) -> Operator:
    values = section_values(section)
    attention, eca = values.pop("attention", None), values.pop("eca", {})  # older runs have no `eca`
    operator: Operator = build_object(values, where)
    if attention is None:
        return operator
    return Attended(operator, attention, read_settings(EcaSettings, eca, "op.eca"))
