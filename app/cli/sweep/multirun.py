"""Hydra's multirun, made to continue: which jobs there are is decided here, launching stays with Hydra.

Hydra takes sweepers from its own plugin namespace only, so ours is a callback that takes the place of the
basic one. Any other sweeper, and every launcher, works as ever.
"""

import logging
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.experimental.callback import Callback
from hydra.types import HydraContext
from omegaconf import DictConfig, read_write

from app.cli.main import INTERRUPTED, exit_codes, run
from app.cli.settings import read_settings
from app.cli.sweep.collect import collect
from app.cli.sweep.compose import compose, digests, launched
from app.cli.sweep.jobs import Job, plan_jobs, sweep_name
from app.cli.sweep.prepare import prepare_once
from app.cli.sweep.progress import progress_line
from app.core.errors import InputError
from app.core.sweep import Entry, JobRecord, Sweep, read_record, write_record, write_sweep

log = logging.getLogger(__name__)
_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True)
class SweepSettings:
    """Which jobs a sweep has; the values are in conf/sweep."""

    name: str | None
    """Of its folder and report; None for the keys swept."""
    baseline: str | None
    """The group of jobs that all others are compared with; None for that of the first job with scores."""
    jobs: dict[str, str]
    """Lines of overrides by name, as after `python run.py -m`; `@name/` is the folder of an earlier job."""


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
    """Run the jobs that are not done yet, collect the results of all; True when all are done.

    Raises:
        InputError: the sweep cannot be planned, or its folder holds a job of another configuration.
    """
    HydraConfig.instance().set_config(config)
    configure_log(config.hydra.job_logging, config.hydra.verbose)
    settings = read_settings(SweepSettings, config.sweep, "sweep")
    command = list(config.hydra.overrides.task)
    lines = settings.jobs or {"": ""}
    jobs = plan_jobs(lines, command)
    chosen = settings.name or config.hydra.runtime.choices.get("sweep")
    config.sweep.name = sweep_name(lines, command, chosen)
    folder = Path(config.paths.sweep)
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)
    waiting = _open_jobs(config, folder, jobs)
    entries = tuple(Entry(job.name, job.group, job.described) for job in jobs)
    sweep = Sweep(config.sweep.name, settings.baseline, entries)
    write_sweep(folder, sweep)
    log.info(
        "sweep %s: %d jobs, %d of them done -> %s", sweep.name, len(jobs), len(jobs) - len(waiting), folder
    )
    prepare_once(compose(config, job.overrides) for job in waiting)
    with progress_line(folder, [job.name for job in jobs]):
        _launch(config, folder, jobs, waiting)
    collect(folder, sweep)
    return all(_state(folder, job.name) == "done" for job in jobs)


def _open_jobs(config: DictConfig, folder: Path, jobs: Sequence[Job]) -> list[Job]:
    """Record every job that is not done, before the first is launched; return those."""
    waiting = []
    for job, digest in zip(jobs, digests(config, jobs), strict=True):
        record = read_record(folder / job.name)
        if record is not None and record.hash != digest:
            raise InputError(
                f"{folder / job.name}: was made with another configuration ({' '.join(record.overrides)}); "
                "delete it or set another folder with paths.sweep"
            )
        if record is None or record.state != "done":
            waiting.append((job, JobRecord(digest, job.described)))
    for job, record in waiting:
        write_record(folder / job.name, record)
    return [job for job, _ in waiting]


def _launch(config: DictConfig, folder: Path, jobs: Sequence[Job], waiting: Sequence[Job]) -> None:
    """Launch what waits for nothing, then what waited for that, until none is left."""
    first = 0
    while waiting:
        ready = [job for job in waiting if not _unmet(folder, job, jobs)]
        if not ready:
            for job in waiting:
                _fail(folder, job, f"not run: it needs {', '.join(_unmet(folder, job, jobs))}, which failed")
            return
        _launch_together(config, folder, jobs, ready, first)
        first += len(ready)
        waiting = [job for job in waiting if job not in ready]


def _launch_together(
    config: DictConfig, folder: Path, jobs: Sequence[Job], ready: Sequence[Job], first: int
) -> None:
    context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks(config))
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=run, config=config
    )
    error = "the process ended without a word"
    try:
        launcher.launch([launched(folder, job, jobs) for job in ready], initial_job_idx=first)
    except Exception as caught:  # a worker killed for memory, say: its neighbours' results still count
        error = f"{type(caught).__name__}: {caught}"
    configure_log(config.hydra.job_logging, config.hydra.verbose)  # the last job's log ends here
    for job in ready:
        if _state(folder, job.name) not in ("done", "failed"):
            _fail(folder, job, error)


def _unmet(folder: Path, job: Job, jobs: Sequence[Job]) -> list[str]:
    targets = [job.target(line, jobs).name for line in job.references]
    return [name for name in targets if _state(folder, name) != "done"]


def _state(folder: Path, name: str) -> str:
    record = read_record(folder / name)
    return "waiting" if record is None else record.state


def _fail(folder: Path, job: Job, error: str) -> None:
    record = read_record(folder / job.name)
    assert record is not None
    write_record(folder / job.name, record.now("failed", error=" ".join(error.split())))
