"""Objects from the configuration, one at a time."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.optim.lr_scheduler import LRScheduler

from app.cli.config.settings import plain, read_settings
from app.core.errors import InputError
from app.core.memory import machine_memory_bytes
from app.core.plan import Plan
from app.core.task import Task
from app.data.plan.fingerprint import read_fingerprint
from app.data.plan.fit_memory import MemoryBudget, plan_within
from app.data.plan.planner import PlanSettings
from app.data.prepare.cache import Cache, CachedCase
from app.data.sample.augment import Augment, AugmentSettings
from app.data.sample.batches import BatchSource
from app.data.sample.patches import PatchSampler
from app.infer.window.sliding import SlidingSettings
from app.models.model import Shape
from app.models.network import NetworkSpec, design
from app.operators import Operator
from app.operators.attention import Attended
from app.track.tracker import RunFolder, Tracker
from app.train.processes import ALONE, Processes
from app.train.settings import TrainSettings
from app.train.state import Loss
from app.train.step_memory import process_peak_bytes, step_bytes
from app.train.target_loss import TargetLoss
from app.train.torchrun import local_count, local_rank, process_count

BuildNetwork = Callable[[DictConfig, Task, Plan], NetworkSpec]

_SHARE = 0.7  # of the memory, for a training; the rest is for the system, other programs and the file cache

log = logging.getLogger(__name__)


def build_device(cfg: DictConfig) -> torch.device:
    """The device of this process, with torch's threads set.

    Raises:
        InputError: a device this machine does not have, or more processes than GPUs.
    """
    torch.set_num_threads(
        int(cfg.threads or os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    )
    if cfg.device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: got {cfg.device!r}, wanted auto, cpu or cuda")
    if cfg.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: got cuda, this machine has none that torch can use")
    if cfg.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    found = torch.cuda.device_count()
    if local_count() > found:
        raise InputError(
            f"device: got {local_count()} processes on a machine of {found} GPUs, wanted at most one on each"
        )
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())


def build_cache(cfg: DictConfig, task: Task) -> Cache:
    """The cache of prepared cases."""
    return Cache(Path(cfg.paths.cache), task, workers=len(os.sched_getaffinity(0)))


def build_plan(cfg: DictConfig, task: Task, cache: Cache, build: BuildNetwork) -> tuple[Plan, dict[str, str]]:
    """What follows from the data and from the memory the network may take, unless set in `plan`."""
    settings = read_settings(PlanSettings, cfg.plan, "plan")
    loss, on_gpu = build_loss(cfg, task), build_device(cfg).type == "cuda"

    def predict(plan: Plan) -> int:
        measure = step_bytes if on_gpu else process_peak_bytes
        return measure(build(cfg, task, plan), plan, loss, process_count())

    limit = round(settings.memory_gb * 1e9) if settings.memory_gb else round(_SHARE * _memory_bytes(on_gpu))
    limit = limit if on_gpu else limit // local_count()
    plan, reasons = plan_within(read_fingerprint(cache), task, settings, MemoryBudget(limit, predict))
    for name, value in plan.to_dict().items():
        log.debug("plan: %s %s: %s", name, value, reasons[name])
    return plan, reasons


def _memory_bytes(on_gpu: bool) -> int:
    if on_gpu:
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return machine_memory_bytes()


def build_network(cfg: DictConfig, task: Task, plan: Plan) -> NetworkSpec:
    """The network's spec, operators bound.

    Raises:
        InputError: a layout is for another network.
    """
    return build_network_of(cfg, task, plan, _build_operator(cfg.op))


def build_network_of(cfg: DictConfig, task: Task, plan: Plan, operator: Operator) -> NetworkSpec:
    """The network's spec with an operator other than the configuration's."""
    shape = Shape(
        in_channels=len(task.modalities),
        classes=len(task.regions or task.segmented),
        widths=plan.widths,
        strides=plan.strides,
        kernels=plan.kernels,
        patch=plan.patch,
        regions=tuple(task.regions.values()),
    )
    if cfg.decoder_op.get("attention") and "_target_" not in cfg.decoder_op:
        raise InputError(
            "decoder_op.attention: the decoder follows the encoder; set decoder_op too, or op.attention"
        )
    decoder = _build_operator(cfg.decoder_op) if "_target_" in cfg.decoder_op else None
    return design(_instantiate(cfg.model), shape, operator, decoder)


def build_batches(
    cfg: DictConfig,
    cases: Sequence[CachedCase],
    plan: Plan,
    label_count: int,
    settings: TrainSettings,
    *,
    processes: Processes = ALONE,
) -> BatchSource:
    """Augmented patches of prepared cases: for each step those that this process takes."""
    augment = read_settings(AugmentSettings, cfg.augment, "augment")
    sampler = PatchSampler(
        cases,
        size=plan.patch,
        margin=augment.margin(plan.patch, plan.spacing),
        batch=plan.batch * settings.accumulate,
        foreground_share=settings.foreground_share,
        seed=cfg.seed,
    )
    chain = Augment(augment, patch=plan.patch, spacing=plan.spacing, label_count=label_count)
    places = processes.places(sampler.batch, settings.accumulate)
    # Beside a step that takes all cores a thread holds it up by more than a batch takes: 45 ms for 14 here.
    on_gpu, taken = build_device(cfg).type == "cuda", torch.get_num_threads() * local_count()
    spare = on_gpu or taken < len(os.sched_getaffinity(0))
    return BatchSource(sampler, chain, seed=cfg.seed, places=places, apart=spare)


def build_loss(cfg: DictConfig, task: Task) -> Loss:
    """The loss for the task's targets, summed over levels of deep supervision with halved weights."""
    from monai.losses.ds_loss import DeepSupervisionLoss  # seconds to import, for training alone

    loss: Loss = _instantiate(cfg.region_loss if task.regions else cfg.loss)
    if task.regions or task.ignore is not None:
        loss = TargetLoss(loss, regions=tuple(task.regions.values()), ignore=task.ignore)
    summed: Loss = DeepSupervisionLoss(loss)
    return summed


def build_optimizer(
    cfg: DictConfig,
) -> tuple[Callable[..., torch.optim.Optimizer], Callable[[torch.optim.Optimizer], LRScheduler]]:
    """What makes the optimizer from parameters, and its schedule from the optimizer."""
    return _instantiate(cfg.optimizer), _instantiate(cfg.schedule)


def build_sliding(cfg: DictConfig) -> SlidingSettings:
    """How windows are laid at the end and in prediction.

    Raises:
        InputError: axes to mirror that training does not flip.
    """
    sliding = read_settings(SlidingSettings, cfg.infer, "infer")
    sliding.check_mirrors(cfg.augment.flip_axes)
    return sliding


def build_tracker(cfg: DictConfig, run: Path, *, going_on: bool) -> Tracker:
    """What follows the run beside its folder."""
    chosen = cfg.get("track")  # a run of before there was a choice goes on without
    make: Callable[..., Tracker] = _instantiate(chosen) if chosen else RunFolder
    return make(run, going_on=going_on)


def _build_operator(section: DictConfig) -> Operator:
    values = plain(section)
    attention = values.pop("attention", None)
    operator: Operator = _instantiate(values)
    return operator if attention is None else Attended(operator, attention)


def _instantiate(section: DictConfig | dict[str, Any]) -> Any:
    return instantiate(section, _convert_="all")
