"""A training built from its configuration."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from app.cli.config.build import build_recipe, build_tracker, network_builder, plan_settings
from app.cli.config.run_config import open_run, write_config
from app.cli.config.settings import section_values
from app.cli.config.task import TaskSettings, configured_folds, open_task
from app.core.errors import InputError
from app.core.plan import Plan
from app.core.task import Task
from app.data.prepare.cache import Cache
from app.track.tracker import NoTracker, Tracker
from app.train.fine_tuning import read_origin
from app.train.machine.processes import ALONE, Processes
from app.train.planning import BuildNetwork, plan_for
from app.train.setup import Start, open_cache, open_training
from app.train.training import Recipe, Training


@dataclass(frozen=True)
class Planned:
    """A plan and its inputs, before anything is prepared or trained."""

    task: Task
    facts: TaskSettings
    cache: Cache
    build: BuildNetwork
    plan: Plan
    reasons: dict[str, str]


def refuse_init(cfg: DictConfig, mode: str, instead: str) -> None:
    """Check that a mode that starts from its own weights is not given others.

    Raises:
        InputError: train.init is set.
    """
    if cfg.train.get("init") and cfg.train.resume is None:
        raise InputError(f"train.init: got {cfg.train.init}, which mode={mode} does not take; {instead}")


MakeBuilder = Callable[[DictConfig, Task], BuildNetwork]


def plan_configured(cfg: DictConfig) -> Planned:
    """Plan the training that a configuration describes.

    Raises:
        InputError: the data or the configuration is wrong.
    """
    task, facts = open_task(cfg)
    build, cache = network_builder(cfg, task), open_cache(Path(cfg.paths.cache), task)
    recipe = build_recipe(cfg, task, facts)
    plan, reasons = plan_for(task, cache, plan_settings(cfg), build=build, recipe=recipe)
    return Planned(task, facts, cache, build, plan, reasons)


def _scratch(cfg: DictConfig) -> Path | None:
    folder = cfg.paths.get("scratch")  # runs from older versions have no such key
    return None if folder is None else Path(folder)


@contextmanager
def open_configured(
    cfg: DictConfig,
    *,
    processes: Processes = ALONE,
    make_builder: MakeBuilder = network_builder,
    change: Callable[[Recipe], Recipe] | None = None,
    facts: Mapping[str, Any] | None = None,
    factor: int = 1,
    like: Path | None = None,
) -> Iterator[tuple[Training, Tracker]]:
    """Open the training that a configuration describes, with its folder locked, and its tracker.

    `change` modifies the recipe, and `facts` replaces choices recorded in summary.json. With `like`, a run
    folder, the plan, folds and first stage of that run are used.

    Raises:
        InputError: the data or the configuration is wrong.
    """
    with open_run(cfg) if processes.leads else nullcontext((Path(), False)) as found:
        folder, resumed = processes.agree((str(found[0]), found[1]))
        run, leads, init = Path(folder), processes.leads, cfg.train.get("init")
        tracker: Tracker = (
            build_tracker(cfg, run, resumed=resumed) if leads else NoTracker(run, resumed=resumed)
        )
        task, task_facts = open_task(cfg)
        recipe = build_recipe(cfg, task, task_facts)
        opened = open_training(
            run,
            task,
            recipe if change is None else change(recipe),
            cache=open_cache(Path(cfg.paths.cache), task, _scratch(cfg)),
            plan_settings=plan_settings(cfg),
            folds=configured_folds(cfg, task, task_facts),
            build_network=make_builder(cfg, task),
            facts={**section_values(cfg.choices), "fold": cfg.fold, "seed": cfg.seed, **(facts or {})},
            start=Start(
                resumed=resumed,
                like=like,
                origin=read_origin(Path(init)) if leads and not resumed and init else None,
                announce=partial(write_config, run, cfg) if leads and not resumed else lambda: None,
            ),
            processes=processes,
            factor=factor,
        )
        opened = replace(opened, follow=tracker.follow)
        if leads and resumed:  # only after a check that its limits leave something to do
            opened = replace(opened, begun=partial(write_config, run, cfg))
        elif leads:
            write_config(run, cfg)
        yield opened, tracker
