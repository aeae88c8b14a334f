"""Hydra's multirun, made to continue: which jobs there are is decided here, launching stays with Hydra.

Hydra takes sweepers from its own plugin namespace only, so ours is a callback that takes the place of the
basic one. Any other sweeper, and every launcher, works as ever.
"""

import logging
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from app.cli.config.exit_codes import INTERRUPTED, exit_codes
from app.cli.config.settings import read_settings
from app.cli.sweep.compose import compose
from app.cli.sweep.jobs import plan_jobs, sweep_name, with_all_folds, with_references
from app.cli.sweep.launch import launch_in_order, record_jobs, state
from app.cli.sweep.prepare import prepare_once
from app.cli.sweep.progress import progress_line
from app.cli.sweep.timings import all_timed, time_runs
from app.core.allocator import keep_freed_memory
from app.core.errors import InputError
from app.core.sweep import Entry, Sweep, write_sweep
from app.train.torchrun import refuse_several

log = logging.getLogger(__name__)
_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True)
class SweepSettings:
    """Which jobs a sweep has; the values are in conf/sweep."""

    name: str | None
    """Of its folder and report; None for the keys swept."""
    baseline: str | None
    """The group of jobs that all others are compared with; None for that of the first job with scores."""
    timed: bool
    """Measure the milliseconds of all networks together once the jobs are done."""
    jobs: dict[str, str]
    """Lines of overrides by name, as after `python run.py -m`; `@name/` is the folder of an earlier job."""
    only: tuple[str, ...] | None
    """The names of the lines to run, with the jobs these refer to; None for all."""

    def __post_init__(self) -> None:
        """Refuse names of lines that are not there."""
        if unknown := [name for name in self.only or () if name not in self.jobs]:
            raise InputError(f"sweep.only: got {', '.join(unknown)}, wanted some of {', '.join(self.jobs)}")


class Multirun(Callback):
    """Takes over where Hydra would hand a multirun to its basic sweeper."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Run the whole sweep and exit: 0 when every job is done, 1 otherwise, 130 when interrupted."""
        if config.hydra.sweeper._target_ != _BASIC:
            return
        try:
            with exit_codes():
                sys.exit(0 if run_sweep(config) else 1)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on", file=sys.stderr)
            sys.exit(INTERRUPTED)
        except Exception:  # which Hydra would turn into a warning
            traceback.print_exc()
            sys.exit(1)


def run_sweep(config: DictConfig) -> bool:
    """Run the chosen jobs that are not done yet, collect the results of all; True when those chosen are done.

    Raises:
        InputError: the sweep cannot be planned, its folder holds a job of another configuration, or this is
            one of several processes.
    """
    keep_freed_memory()
    refuse_several("a sweep")
    HydraConfig.instance().set_config(config)
    configure_log(config.hydra.job_logging, config.hydra.verbose)
    settings = read_settings(SweepSettings, config.sweep, "sweep")
    command = [with_all_folds(word, config.folds) for word in config.hydra.overrides.task]
    if any(word.startswith("paths.run=") for word in command):
        raise InputError("paths.run: is the folder of a single run; several have theirs below paths.sweep")
    texts = settings.jobs or {"": ""}
    lines = {name: with_all_folds(line, config.folds) for name, line in texts.items()}
    jobs = plan_jobs(lines, command)
    chosen = with_references((job for job in jobs if job.line in (settings.only or lines)), jobs)
    name = settings.name or config.hydra.runtime.choices.get("sweep")
    config.sweep.name = sweep_name(lines, command, name)
    folder = Path(config.paths.sweep)
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)
    waiting = record_jobs(config, folder, jobs, chosen)
    entries = tuple(Entry(job.name, job.group, job.described) for job in jobs)
    sweep = Sweep(config.sweep.name, settings.baseline, entries)
    write_sweep(folder, sweep)
    log.info(
        "sweep %s: %d jobs, %d of them done -> %s",
        *(sweep.name, len(chosen), len(chosen) - len(waiting), folder),
    )
    prepare_once(compose(config, job.overrides) for job in waiting)
    with progress_line(folder, [job.name for job in chosen]):
        launch_in_order(config, folder, jobs, waiting)
    if settings.timed and not all_timed(folder):
        time_runs(folder, config)
    _collect(folder, sweep)
    return all(state(folder, job.name) == "done" for job in chosen)


def _collect(folder: Path, sweep: Sweep) -> None:
    from app.cli.sweep.collect import collect  # a second to import: charts

    collect(folder, sweep)
