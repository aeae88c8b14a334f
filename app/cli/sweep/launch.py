"""Jobs through Hydra's launchers, those first that others build on; what became of each is read from disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.types import HydraContext
from omegaconf import DictConfig

from app.cli.config.run_log import log_into
from app.cli.shell.main import run
from app.cli.sweep.compose import digests, launched
from app.cli.sweep.jobs import Job, with_references
from app.core.errors import InputError
from app.core.sweep import JobRecord, read_record, write_record


def record_jobs(config: DictConfig, folder: Path, jobs: Sequence[Job], chosen: Sequence[Job]) -> list[Job]:
    """Record every chosen job that is not done, before the first is launched; return those.

    Raises:
        InputError: the folder of a job, chosen or not, holds one of another configuration.
    """
    records = {job.name: read_record(folder / job.name) for job in jobs}
    concerned = with_references((job for job in jobs if job in chosen or records[job.name]), jobs)
    waiting = []
    for job, digest in zip(concerned, digests(config, concerned), strict=True):
        record = records[job.name]
        if record is not None and record.hash != digest:
            raise InputError(
                f"{folder / job.name}: was made with another configuration ({' '.join(record.overrides)}); "
                "delete it or set another folder with paths.sweep"
            )
        if job in chosen and (record is None or record.state != "done"):
            waiting.append((job, JobRecord(digest, job.described)))
    for job, record in waiting:
        write_record(folder / job.name, record)
    return [job for job, _ in waiting]


def launch_in_order(config: DictConfig, folder: Path, jobs: Sequence[Job], waiting: Sequence[Job]) -> None:
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


def state(folder: Path, name: str) -> str:
    """How far the job of a folder has come."""
    record = read_record(folder / name)
    return "waiting" if record is None else record.state


def _launch_together(
    config: DictConfig, folder: Path, jobs: Sequence[Job], ready: Sequence[Job], first: int
) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use over the network
    # The one private import: a launcher takes a HydraContext, and that nothing but this class.
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
    log_into(folder)
    for job in ready:
        if state(folder, job.name) not in ("done", "failed"):
            _fail(folder, job, error)


def _unmet(folder: Path, job: Job, jobs: Sequence[Job]) -> list[str]:
    targets = [job.target(line, jobs).name for line in job.references]
    return [name for name in targets if state(folder, name) != "done"]


def _fail(folder: Path, job: Job, error: str) -> None:
    record = read_record(folder / job.name)
    assert record is not None
    write_record(folder / job.name, record.now("failed", error=" ".join(error.split())))
