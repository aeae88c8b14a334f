"""What all trainings of a ranking share: data, plan and recipe; one training, and what it is judged by."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from app.cli.config.build import build_recipe, choose_device, network_builder, plan_settings
from app.cli.config.settings import leave_out, read_settings, section_values
from app.cli.config.task import configured_folds, open_task
from app.core import run_folder
from app.core.files import atomic_path
from app.core.plan import Plan, read_plan, write_plan
from app.core.task import Task
from app.data.prepare.cached_case import CachedCase
from app.data.prepare.parallel import spread
from app.data.sample.batches import Batch, BatchSource
from app.data.sample.split import inner_split
from app.infer.window.sliding import SlidingSettings
from app.models.network import NetworkSpec, design, to_device
from app.models.regions import without_labels
from app.operators.plain import Conv3d
from app.operators.supernet import SuperNet
from app.search.costs import Budget, MacsCost
from app.search.evolve import even_chances
from app.search.judge import judge_on, loss_over
from app.search.methods import SearchSettings
from app.search.search import searched_sites
from app.train.inputs import make_batches
from app.train.planning import plan_for
from app.train.setup import draw_split, open_cache
from app.train.state import TrainingState
from app.train.training import Recipe
from app.train.validate import validation_dice
from tests.support.config import composed

SMALL = (
    *("plan.stages=1", "plan.minutes=null", "plan.base_width=16", "plan.max_levels=3"),
    *("plan.max_patch_voxels=40000", "search.budget=0.2", "search.where=all", "search.align=8"),
)
"""Overrides of every ranking; those of the command are behind them."""


@dataclass(frozen=True)
class Asked:
    """What the command asks for; the same values give the same figures."""

    out: Path
    overrides: tuple[str, ...]
    layouts: int
    seeds: tuple[int, ...]
    steps: int
    """Optimizer steps of each training of a layout."""
    short_steps: int
    """Optimizer steps of the short trainings that some judges use."""
    super_steps: int
    """Optimizer steps of each super-network."""
    cases: int
    """Held-out cases whose Dice is measured."""
    vary_widths: bool

    @property
    def folder(self) -> Path:
        """Where plan, layouts and super-networks are: beside the table, with its name."""
        return self.out.with_suffix("")


@dataclass
class Bench:
    """One fold of a task under one plan."""

    asked: Asked
    task: Task
    plan: Plan
    recipe: Recipe
    search: SearchSettings
    dense: NetworkSpec
    training: Sequence[CachedCase]
    held_out: Sequence[CachedCase]
    teaching: Sequence[CachedCase]
    """The training cases by which judges train."""
    judging: Sequence[CachedCase]
    """The other training cases, by which they judge: what is held out never helps a judge."""
    earlier_seconds: float = field(default=0.0)
    """Seconds of trainings whose result was read from a file instead."""

    def fit(
        self,
        network: nn.Module,
        cases: Sequence[CachedCase],
        *,
        steps: int,
        seed: int,
        averaged: bool = False,
    ) -> nn.Module:
        """Train a network for that many steps and return it in eval mode.

        With `averaged` its weights are the recipe's moving average, which a short training would ruin.
        """
        recipe = replace(self.recipe, seed=seed)
        decay = recipe.settings.ema_decay if averaged else None
        settings = replace(recipe.settings, steps=steps, ema_decay=decay)
        network = to_device(network, recipe.device)
        optimizer = recipe.make_optimizer(network.parameters())
        state = TrainingState(network, optimizer, recipe.make_schedule(optimizer, steps), settings)
        batches = self.batches(cases, recipe)
        network.train()
        for step in range(steps):
            state.update(batches.batch(step), recipe.loss, settings.clip_norm)
            state.follow(step + 1)
        return state.judged.eval()

    def fresh(self, spec: NetworkSpec, seed: int) -> nn.Module:
        """A network whose weights are drawn with a seed."""
        torch.manual_seed(seed)
        return spec.build()

    def batches(self, cases: Sequence[CachedCase], recipe: Recipe) -> BatchSource:
        """Patches as a training sees them."""
        return make_batches(cases, self.plan, self.task, recipe=recipe, settings=recipe.settings)

    def loss(self, network: nn.Module, cases: Sequence[CachedCase]) -> float:
        """Loss on patches of cases as a race judges it; the same ones for every network."""
        return judge_on(cases, self.plan, self.task, self.recipe)(network)

    def loss_on(self, network: nn.Module, batches: Iterable[Batch]) -> float:
        """Loss on these batches, as one."""
        return loss_over(without_labels(network), batches, self.recipe.loss)

    def dice(self, network: nn.Module) -> float:
        """Mean Dice over held-out cases and targets, on the network's grid, without mirroring."""
        found = validation_dice(
            network,
            spread(self.held_out, self.asked.cases),
            task=self.task,
            plan=self.plan,
            sliding=SlidingSettings(overlap=0.25, windows=2, mirror_axes=()),
        )
        return fmean(value for value in found.values() if value is not None)

    def candidates(self, weights: str = "shared") -> NetworkSpec:
        """The super-network from which layouts are chosen, as `search` describes it and evolve trains it."""
        operator = SuperNet(
            *(self.search.kernels, self.search.where, "sampled", weights, self.search.temperature),
            unit=self.search.aligned,
            most_units=self.search.most_units,
        )
        spec = design(self.dense.model, self.dense.shape, operator, None)
        chances = even_chances(searched_sites(spec), [Budget(MacsCost(), self.search.budget)])
        operator = replace(operator, chances={name: values.tolist() for name, values in chances.items()})
        return design(self.dense.model, self.dense.shape, operator, None)

    def super_network(self, weights: str) -> tuple[NetworkSpec, nn.Module]:
        """The super-network, trained on the teaching cases, or read from its file."""
        spec, path = self.candidates(weights), self.asked.folder / f"super_network_{weights}.pt"
        network = to_device(self.fresh(spec, seed=0), self.recipe.device)
        if path.is_file():
            found: dict[str, Any] = torch.load(path, weights_only=True)
            network.load_state_dict(found["weights"])
            self.earlier_seconds += found["seconds"]
            return spec, network.eval()
        started = time.process_time()
        network = self.fit(network, self.teaching, steps=self.asked.super_steps, seed=0, averaged=True)
        seconds = time.process_time() - started
        with atomic_path(path) as temporary:
            torch.save({"weights": network.state_dict(), "seconds": seconds}, temporary)
        return spec, network


@lru_cache(maxsize=1)
def open_bench(asked: Asked) -> Bench:
    """Prepare the data of a ranking; the plan is made once and kept, so that all processes have the same."""
    cfg = composed(*SMALL, *asked.overrides, "search.method=evolve", "choices=null", "paths.run=null")
    task, facts = open_task(cfg)
    recipe, cache = build_recipe(cfg, task, facts), open_cache(Path(cfg.paths.cache), task)
    build, path = network_builder(cfg, task, Conv3d()), asked.folder / run_folder.PLAN
    if not path.is_file():
        settings = replace(recipe, settings=recipe.settings.with_steps(asked.steps))
        write_plan(path, *plan_for(task, cache, plan_settings(cfg), build=build, recipe=settings))
    plan, _ = read_plan(path)
    folds = configured_folds(cfg, task, facts)
    split, cached = draw_split(task, folds, cache), cache.prepare(plan)
    inner = inner_split(split, recipe.seed)
    teaching, judging = inner.training, inner.validation
    return Bench(
        asked=asked,
        task=task,
        plan=plan,
        recipe=replace(recipe.following(plan), device=choose_device(cfg)),
        search=read_settings(SearchSettings, leave_out(section_values(cfg.search), "paper"), "search"),
        dense=build(plan),
        training=[cached[case.id] for case in split.training],
        held_out=[cached[case.id] for case in split.validation],
        teaching=[cached[case.id] for case in teaching],
        judging=[cached[case.id] for case in judging],
    )
