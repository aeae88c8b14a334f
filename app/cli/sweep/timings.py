"""The file timings.csv: times of the networks of many runs in milliseconds, measured together."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from app.cli.config.build import build_loss, choose_device
from app.cli.config.optimizer import build_optimizer, build_schedule
from app.cli.config.run_config import completed, stored_config, where_it_is
from app.cli.config.settings import train_settings
from app.cli.config.task import open_task
from app.core import run_folder
from app.core.csv_file import write_csv
from app.core.errors import InputError
from app.core.plan import Plan
from app.core.sweep import TIMINGS
from app.models.checkpoint import read_checkpoint
from app.models.network import NetworkSpec, to_device
from app.operators.supernet import SuperNet
from app.report.read.runs import find_runs
from app.report.read.timings import read_timings
from app.train.machine.environment import machine
from app.train.state import TrainingState
from app.train.timing import Subject, Timing, time_networks

log = logging.getLogger(__name__)


def time_runs(folder: Path, cfg: DictConfig) -> dict[str, Timing]:
    """Time the trained networks at or below a folder in turn, on `cfg.device`, and write timings.csv.

    Super-networks of searches are left out, because they are not used for prediction.

    Raises:
        InputError: there is no trained network.
    """
    trained = _trained(folder)
    if not trained:
        raise InputError(f"time.runs: {folder}: no run here or below with {run_folder.LAST}")
    timings = time_networks({name: _subject(folder / name, *of, cfg) for name, of in trained.items()})
    facts = "; ".join(f"{name} {value}" for name, value in machine(choose_device(cfg)).items())
    write_csv(folder / TIMINGS, [_row(name, timing, facts) for name, timing in timings.items()])
    return timings


def all_timed(folder: Path) -> bool:
    """Return whether timings.csv has every network that `time_runs` would time.

    Raises:
        InputError: that file is broken.
    """
    return _trained(folder).keys() <= read_timings(folder).keys()


def _trained(folder: Path) -> dict[str, tuple[NetworkSpec, Plan]]:
    """Return the trained networks and plans at or below a folder, by relative path."""
    found = {}
    for run in find_runs(folder):
        if (run / run_folder.LAST).is_file():
            checkpoint = read_checkpoint(run / run_folder.LAST)
            if not isinstance(checkpoint.network.encoder, SuperNet):
                found[run.relative_to(folder).as_posix()] = (checkpoint.network, checkpoint.plan)
    return found


def _subject(folder: Path, spec: NetworkSpec, plan: Plan, cfg: DictConfig) -> Subject:
    stored = completed(where_it_is(stored_config(folder, "time.runs")), cfg)
    task, _ = open_task(stored)
    settings = train_settings(stored.train).with_steps(plan.steps)
    network = to_device(spec.build(), choose_device(cfg))
    optimizer = build_optimizer(stored)(network.parameters())
    schedule = build_schedule(stored)(optimizer, settings.total_steps)
    return Subject(
        state=TrainingState(network, optimizer, schedule, settings),
        loss=build_loss(stored, task),
        in_channels=spec.shape.in_channels,
        labels=len(task.labels),
        patch=plan.patch,
        batch=plan.batch * settings.accumulate,
        clip_norm=settings.clip_norm,
    )


def _row(run: str, timing: Timing, facts: str) -> dict[str, str]:
    milliseconds = {"forward_ms": f"{timing.forward_ms:.2f}", "step_ms": f"{timing.step_ms:.2f}"}
    return {"run": run, **milliseconds, "machine": facts}
