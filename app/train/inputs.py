"""The inputs of a training: the prepared cases of a plan, and augmented patches of them."""

from collections.abc import Mapping, Sequence

import torch

from app.core.machine import usable_cores
from app.core.plan import Plan
from app.core.task import Task
from app.core.types import Spacing
from app.data.prepare.cache import Cache
from app.data.prepare.cached_case import CachedCase
from app.data.sample.augment import Augment
from app.data.sample.batches import BatchSource
from app.data.sample.partial import partial_labels
from app.data.sample.patches import PatchSampler
from app.train.machine.processes import ALONE, Processes
from app.train.machine.torchrun import local_count, local_rank
from app.train.settings import TrainSettings
from app.train.training import Recipe

_READERS = 4  # most threads: reading a batch for an NVIDIA GPU takes 40 ms on a core, a step 50 ms or more


def prepare_cases(
    cache: Cache, plan: Plan, margin_mm: Spacing | None, share: float, processes: Processes
) -> Mapping[str, CachedCase]:
    """Return the prepared cases; each process prepares its share of them.

    One process per machine copies them to the scratch folder.
    """
    if processes.count > 1:
        cache.fill(plan, margin_mm, processes.share, share=share)
        processes.agree(None)  # all cases are prepared
    if local_rank() > 0:
        processes.agree(None)
    cached = cache.prepare(plan, margin_mm, share=share)
    if local_rank() == 0:
        processes.agree(None)
    return cached


def make_batches(
    cases: Sequence[CachedCase],
    plan: Plan,
    task: Task,
    *,
    recipe: Recipe,
    settings: TrainSettings,
    processes: Processes = ALONE,
) -> BatchSource:
    """Return a source of augmented patches of prepared cases, for each step those that this process makes."""
    partial = partial_labels(task)
    sampler = PatchSampler(
        cases,
        size=plan.patch,
        margin=recipe.augment.margin(plan.patch, plan.spacing),
        batch=plan.batch * settings.accumulate,
        foreground_share=plan.foreground_share,
        seed=recipe.seed,
        codes=partial.codes,
    )
    chain = Augment(
        recipe.augment,
        patch=plan.patch,
        spacing=plan.spacing,
        swapped=partial.swapped(plan.swapped),
        oriented=plan.oriented,
    )
    places = processes.places(sampler.batch, settings.accumulate)
    readers, device = readers_beside(recipe.device), augmenting_device(recipe.device)
    return BatchSource(sampler, chain, seed=recipe.seed, places=places, readers=readers, device=device)


def augmenting_device(device: torch.device) -> torch.device:
    """Return the device that augments patches for a training on `device`; MPS cannot sample in 3D."""
    return device if device.type == "cuda" else torch.device("cpu")


def readers_beside(device: torch.device) -> int:
    """Return the number of threads that make batches ahead of a training on this machine."""
    return count_readers(device, len(usable_cores()), torch.get_num_threads() * local_count())


def count_readers(device: torch.device, cores: int, taken: int) -> int:
    """Return the number of threads that make batches ahead, from the cores that a step leaves free.

    A step takes `taken` cores on a CPU. If it takes all of them, a thread slows the step by 45 ms to save the
    14 ms of making a batch.
    """
    spare = cores - taken if device.type == "cpu" else max(1, cores // local_count() - 1)
    return min(_READERS, max(0, spare))
