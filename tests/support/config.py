"""Settings and plans that many tests start from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from app.compress.fits.settings import CompressSettings
from app.core.plan import Normalisation, Plan
from app.core.task import Task
from app.data.plan.case_facts import case_facts
from app.data.plan.fingerprint import Fingerprint, read_fingerprint, summarise
from app.data.plan.planner import make_plan
from app.data.plan.settings import PlanSettings
from app.data.prepare.cache import Cache
from app.data.sample.augment_settings import AugmentSettings

TINY = (
    *("task=decathlon", "train=smoke", "plan.patch=[16,16,16]", "plan.base_width=4", "plan.max_levels=2"),
    *("sliding=fast", "augment=none", "threads=1", "folds=2"),
)


"""Settings by which a run on `make_task`'s data takes a second."""


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        return compose("config", list(overrides))


PLAN = Plan(
    spacing=(3.0, 1.0, 1.0),
    patch=(8, 16, 16),
    batch=2,
    widths=(8, 16),
    strides=((1, 1, 1), (1, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3)),
    normalisation=(Normalisation("ct", -100.0, 200.0, 50.0, 30.0), Normalisation("zscore")),
    foreground_share=0.33,
    steps=2000,
)


AUTO = PlanSettings(
    file=None,
    spacing=None,
    patch=None,
    batch=None,
    max_batch=2,
    base_width=16,
    max_width=128,
    max_levels=6,
    widths=None,
    strides=None,
    kernels=None,
    max_patch_voxels=100_000,
    memory_gb=None,
    normalisation=None,
    foreground_share=None,
    mirror=None,
    steps=None,
    passes=18,
    max_steps=4000,
    minutes=None,
    stages=None,
    device=None,
)


def fingerprint_of(task: Task) -> Fingerprint:
    return summarise([case_facts(case, task) for case in task.cases])


def altered(fingerprint: Fingerprint, **changes: Any) -> Fingerprint:
    return replace(fingerprint, **changes)


NONE = AugmentSettings(
    rotate=0,
    rotate_degrees=30,
    scale=0,
    scale_range=(0.7, 1.4),
    flip_axes=(),
    noise=0,
    noise_variance=(0.0, 0.1),
    blur=0,
    blur_sigma=(0.5, 1.0),
    brightness=0,
    brightness_range=(0.75, 1.25),
    contrast=0,
    contrast_range=(0.75, 1.25),
    low_resolution=0,
    low_resolution_range=(0.5, 1.0),
    gamma=0,
    gamma_range=(0.7, 1.5),
)


def plan_for(cache: Cache, task: Task) -> Plan:
    return make_plan(read_fingerprint(cache), task, AUTO)[0]


CUBES = Plan(
    spacing=(1.0, 1.0, 1.0),
    patch=(8, 8, 8),
    batch=1,
    widths=(4, 8),
    strides=((1, 1, 1), (2, 2, 2)),
    kernels=((3, 3, 3), (3, 3, 3)),
    normalisation=(Normalisation("zscore"),),
    foreground_share=0.33,
    steps=2000,
)


COMPRESS = CompressSettings(
    method="dwd",
    fit="asymmetric",
    budget=0.5,
    cost="macs",
    chain="none",
    patches=2,
    rows=600,
    sweeps=2,
    rounds=5,
    finetune_rate=1.0,
)
