"""The memory of a training, predicted and measured: one row a network, each in a process of its own.

python -m tests.benchmarks.training_memory task=phantom
Overrides are as for run.py. The prediction is what the memory budget of a plan goes by.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from app.cli.config.build import build_recipe, set_up_process
from app.cli.config.task import open_task
from app.cli.config.training import plan_configured
from app.core.machine import peak_bytes
from app.models.network import to_device
from app.train.inputs import make_batches
from app.train.state import TrainingState
from app.train.step_memory import process_peak_bytes

FITTED = (  # those the two numbers of app.train.step_memory were fitted to
    "plan.patch=[40,56,40]",
    "plan.patch=[40,56,40] op=cakes",
    "plan.patch=[64,64,64]",
    "plan.patch=[64,64,64] op=cakes",
    "plan.patch=[64,64,64] plan.batch=1 plan.base_width=8",
    "plan.patch=[48,48,48] plan.base_width=32 plan.max_width=256",
    "plan.patch=[32,96,96] op=p3d",
    "plan.patch=[64,64,64] model=resunet",
    "plan.patch=[96,96,96]",
    "plan.patch=[128,128,96] plan.batch=1",
)
HELD_OUT = (  # those the prediction is judged by: other widths, patches, levels, batches and operators
    "plan.patch=[48,64,48] plan.base_width=24 plan.max_width=192",
    "plan.patch=[64,64,64] plan.base_width=12 plan.max_levels=3",
    "plan.patch=[80,80,80] plan.batch=1 plan.base_width=20",
    "plan.patch=[24,64,64] plan.batch=4",
    "plan.patch=[56,56,56] op=dwsep",
    "plan.patch=[96,96,64] plan.base_width=8 plan.max_levels=5",
    "plan.patch=[40,48,48] plan.batch=3 op=dicenet",
)
STEPS = 4


def main(overrides: list[str]) -> None:
    """Print the table."""
    one("plan.patch=[16,16,16]", *overrides)  # prepares the cases, so that no child does
    table = Table("network", "predicted MB", "measured MB", "error %")
    for network in (*FITTED, *HELD_OUT):
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.training_memory",
            "--one",
            *network.split(),
            *overrides,
        ]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
        predicted, measured = json.loads(done.stdout.splitlines()[-1])
        error = 100 * (predicted / measured - 1)
        name = network + (" (held out)" if network in HELD_OUT else "")
        table.add_row(name, f"{predicted / 1e6:.0f}", f"{measured / 1e6:.0f}", f"{error:+.0f}")
    Console(width=110).print(table)


def one(*overrides: str) -> tuple[int, int]:
    """Bytes predicted before training and resident at most after some steps."""
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        given = ("choices=null", "paths.run=null", "device=cpu", "plan.minutes=null")
        cfg = compose("config", [*given, *overrides])
    set_up_process(cfg)
    task, facts = open_task(cfg)
    recipe, planned = build_recipe(cfg, task, facts), plan_configured(cfg)
    plan = planned.plan
    cases = list(planned.cache.prepare(plan).values())
    network = planned.build(plan)
    predicted = process_peak_bytes(network, plan, recipe.loss)
    settings = recipe.settings.with_steps(plan.steps)
    module = to_device(network.build(), recipe.device)
    optimizer = recipe.make_optimizer(module.parameters())
    state = TrainingState(module, optimizer, recipe.make_schedule(optimizer, settings.total_steps), settings)
    module.train()
    batches = make_batches(cases, plan, task, recipe=recipe, settings=settings)
    for batch in batches.ahead(0, STEPS):
        state.update(batch, recipe.loss, settings.clip_norm)
    return predicted, peak_bytes()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        torch.manual_seed(0)
        print(json.dumps(one(*sys.argv[2:])))
    else:
        main(sys.argv[1:])
