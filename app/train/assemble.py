"""A training put together from the decisions before its first step, with batches of its training cases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.plan import Plan
from app.core.task import Task
from app.data.prepare.cache import CachedCase
from app.data.sample.split import Split
from app.models.network import NetworkSpec
from app.train.fine_tuning import Origin
from app.train.inputs import make_batches
from app.train.machine.processes import Processes
from app.train.settings import TrainSettings
from app.train.training import Recipe, Training


def assemble(
    folder: Path,
    recipe: Recipe,
    settings: TrainSettings,
    *,
    task: Task,
    plan: Plan,
    split: Split,
    network: NetworkSpec,
    cached: Mapping[str, CachedCase],
    facts: Mapping[str, Any],
    resumed: bool,
    processes: Processes,
    origin: Origin | None,
) -> Training:
    """Return the training; its batches are augmented patches of the training cases of the split."""
    cases = [cached[case.id] for case in split.training]
    return Training(
        folder=folder,
        recipe=recipe,
        settings=settings,
        task=task,
        plan=plan,
        split=split,
        network=network,
        batches=make_batches(cases, plan, task, recipe=recipe, settings=settings, processes=processes),
        cached=cached,
        facts=facts,
        resumed=resumed,
        processes=processes,
        origin=origin,
    )
