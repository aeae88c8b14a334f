"""Where a training step's time goes, operator by operator, measured turn about in one process.

python -m tests.benchmarks.step conv3d,cakes task=hippocampus paths.data=<folder>
First the operators, then overrides as for run.py; overrides of one row follow it with a plus, such as
cakes+train.compile=true. A step takes the threads that `threads` says; loading and augmenting is timed on
one, as training does it where a core is to spare.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from app.cli.config.build import build_recipe, set_up_process
from app.cli.config.task import configured_folds, open_task
from app.cli.config.training import plan_configured
from app.core.machine import keep_freed_memory
from app.data.sample.split import split_cases
from app.layers.cost import Cost
from app.models.network import to_device
from app.train.inputs import make_batches
from app.train.state import TrainingState

ROUNDS = 15
Timed = Callable[[int], object]


@dataclass(frozen=True)
class Row:
    """Loading one batch, one training step on a batch loaded before, its threads, the network's cost."""

    loading: Timed
    step: Timed
    threads: int
    cost: Cost


def main(operators: list[str], overrides: list[str]) -> None:
    """Print one row an operator."""
    keep_freed_memory()
    rows = {operator: prepare(compose_for(operator, overrides)) for operator in operators}
    table = Table("operator", "parameters", "GMAC a patch", "step ms", "loading and augmenting ms", "share %")
    for name, (loading, step) in measure(rows).items():
        cost = rows[name].cost
        cells = f"{cost.params:,}", f"{cost.macs / 1e9:.2f}", f"{1000 * step:.0f}", f"{1000 * loading:.0f}"
        table.add_row(name, *cells, f"{100 * loading / step:.1f}")
    Console(width=110).print(table)


def compose_for(row: str, overrides: list[str]) -> DictConfig:
    operator, *own = row.split("+")
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        given = (f"op={operator}", "choices=null", "paths.run=null", "plan.minutes=null")  # equal patches
        return compose("config", [*given, *overrides, *own])


def prepare(cfg: DictConfig) -> Row:
    """What is timed of one configuration, and the threads it asks for."""
    set_up_process(cfg)
    task, facts = open_task(cfg)
    recipe, planned = build_recipe(cfg, task, facts), plan_configured(cfg)
    plan = planned.plan
    split = split_cases(task.cases, configured_folds(cfg, task, facts))
    settings = recipe.settings.with_steps(plan.steps)
    cached = planned.cache.prepare(plan)
    training = [cached[case.id] for case in split.training]
    batches = make_batches(training, plan, task, recipe=recipe, settings=settings)
    spec = planned.build(plan)
    network = to_device(spec.build(), recipe.device)
    optimizer = recipe.make_optimizer(network.parameters())
    state = TrainingState(network, optimizer, recipe.make_schedule(optimizer, settings.total_steps), settings)
    batch = batches.batch(0)
    return Row(
        loading=batches.batch,
        step=lambda _: state.update(batch, recipe.loss, settings.clip_norm),
        threads=torch.get_num_threads(),
        cost=spec.cost(plan.patch),
    )


def measure(rows: dict[str, Row]) -> dict[str, tuple[float, float]]:
    """Median seconds of each row's loading and step, in turn, after two rounds of warm-up."""
    loading: dict[str, list[float]] = {name: [] for name in rows}
    step: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(ROUNDS + 2):
        for name, row in rows.items():
            loading[name].append(_seconds(row.loading, turn, threads=1))
            step[name].append(_seconds(row.step, turn, threads=row.threads))
    return {name: (median(loading[name][2:]), median(step[name][2:])) for name in rows}


def _seconds(work: Timed, turn: int, *, threads: int) -> float:
    torch.set_num_threads(threads)
    started = time.perf_counter()
    work(turn)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2:])
