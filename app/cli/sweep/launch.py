"""Launching of jobs with Hydra's launchers, in the order of their references; results are read from disk."""

import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, read_write

from app.cli.config.run_log import log_into
from app.cli.sweep.compose import digests, launched
from app.cli.sweep.jobs import Job, with_references
from app.core.errors import InputError, interrupts_kept
from app.core.files import remove
from app.core.sweep import JobRecord, read_record, write_record


@dataclass(frozen=True)
class Launching:
    """The arguments that Hydra passes to a sweeper, which can launch jobs."""

    config: DictConfig
    context: HydraContext
    task: TaskFunction

    def into(self, folder: Path) -> "Launching":
        """Return the same for a folder, which the launchers create and may write files of their own in."""
        config = deepcopy(self.config)
        with read_write(config.hydra):
            config.hydra.sweep.dir = str(folder)
        return replace(self, config=config)

    def launch(self, overrides: Sequence[Sequence[str]], first: int) -> str | None:
        """Run a job for each list of overrides, numbered from `first`; return the error, if there was one.

        A worker that is killed, for example because memory ran out, is such an error; results of other
        workers still count.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would send usage data over the network
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.task, config=self.config
        )
        try:
            with interrupts_kept():
                launcher.launch(overrides, initial_job_idx=first)
        except Exception as error:
            told = error if str(error) or error.__cause__ is None else error.__cause__
            return f"{type(told).__name__}: {told}"
        finally:  # the last job's log ends here
            configure_log(self.config.hydra.job_logging, self.config.hydra.verbose)
        return None


def record_jobs(
    config: DictConfig, folder: Path, jobs: Sequence[Job], chosen: Sequence[Job], *, replace: bool = False
) -> list[Job]:
    """Record every chosen job that is not done, before the first is launched; return these jobs.

    With `replace`, the remains of an unfinished job with another configuration are removed.

    Raises:
        InputError: the folder of a job, chosen or not, holds a job with another configuration.
    """
    records = {job.name: read_record(folder / job.name) for job in jobs}
    concerned = with_references((job for job in jobs if job in chosen or records[job.name]), jobs)
    waiting = []
    for job, digest in zip(concerned, digests(config, concerned), strict=True):
        record = records[job.name]
        if replace and record is not None and record.hash != digest and record.state != "done":
            remove(folder / job.name)
            record = None
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


def launch_in_order(launching: Launching, folder: Path, jobs: Sequence[Job], waiting: Sequence[Job]) -> None:
    """Launch jobs that wait for no other, then those that waited for them, until none is left."""
    first, launching = 0, launching.into(folder)
    while waiting:
        ready = [job for job in waiting if not _unmet(folder, job, jobs)]
        if not ready:
            for job in waiting:
                _fail(
                    folder,
                    job,
                    f"not run, because it needs {', '.join(_unmet(folder, job, jobs))}, which failed",
                )
            return
        overrides = [launched(folder, job, jobs) for job in ready]
        error = launching.launch(overrides, first) or "the process ended without an error message"
        log_into(folder)
        for job in ready:
            if state(folder, job.name) not in ("done", "failed"):
                _fail(folder, job, error)
        first += len(ready)
        waiting = [job for job in waiting if job not in ready]


def state(folder: Path, name: str) -> str:
    """Return the state of the job in a folder."""
    record = read_record(folder / name)
    return "waiting" if record is None else record.state


def _unmet(folder: Path, job: Job, jobs: Sequence[Job]) -> list[str]:
    targets = [job.target(line, jobs).name for line in job.references]
    return [name for name in targets if state(folder, name) != "done"]


def _fail(folder: Path, job: Job, error: str) -> None:
    record = read_record(folder / job.name)
    if record is None:
        raise InputError(
            f"{folder / job.name}: was moved or removed while the sweep ran; run the same command again"
        )
    write_record(folder / job.name, record.now("failed", error=" ".join(error.split())))
