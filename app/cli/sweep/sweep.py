"""A sweep that can be continued: its jobs are determined here, and Hydra's launchers run them."""

import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hydra.utils import get_method

from app.cli.config.build import set_up_process
from app.cli.config.command_settings import ALL_FOLDS, command_settings
from app.cli.config.paths import readable
from app.cli.config.settings import read_settings
from app.cli.sweep.compose import compose
from app.cli.sweep.jobs import Job, parse, plan_jobs, sweep_name, with_all_folds, with_references
from app.cli.sweep.launch import Launching, launch_in_order, record_jobs, state
from app.cli.sweep.pinning import cores_per_job
from app.cli.sweep.prepare import prepare_once, refuse_other_losses
from app.cli.sweep.progress import progress_line
from app.cli.sweep.timings import all_timed, time_runs
from app.core.errors import InputError
from app.core.lock import locked
from app.core.sweep import Sweep, SweepJob, write_sweep
from app.data.sample.split_names import folds_in
from app.train.machine.torchrun import refuse_several

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepSettings:
    """The jobs of a sweep; the values are in conf/sweep."""

    name: str | None
    """Name of its folder and report; None for the swept keys."""
    baseline: str | None
    """Group of jobs that all others are compared with; None for the group of the first job with scores."""
    timed: bool
    """Whether to measure the times of all networks together when the jobs are done."""
    jobs: dict[str, str]
    """Lines of overrides by name, as after `python run.py -m`; `@name/` is the folder of an earlier job."""
    only: tuple[str, ...] | None
    """Names of the lines to run, together with the jobs that they refer to; None for all."""

    def __post_init__(self) -> None:
        """Validate values."""
        if unknown := [name for name in self.only or () if name not in self.jobs]:
            raise InputError(f"sweep.only: got {', '.join(unknown)}, wanted some of {', '.join(self.jobs)}")


def launch_mode(launching: Launching, command: Sequence[str]) -> bool:
    """Run a sweep, or a mode that launches its own jobs; return whether all jobs are done.

    Raises:
        InputError: the sweep cannot be planned, or this is one of several processes.
    """
    config = launching.config
    refuse_several("a sweep")
    HydraConfig.instance().set_config(config)
    configure_log(config.hydra.job_logging, config.hydra.verbose)
    set_up_process(config)
    if config.mode.get("launches", False):
        launch: Callable[[Launching, Sequence[str]], bool] = get_method(config.mode.run)
        return launch(launching, command)
    return run_sweep(launching, command)


def run_sweep(launching: Launching, command: Sequence[str]) -> bool:
    """Run the chosen jobs that are not done and collect all results; return whether the chosen ones are done.

    Raises:
        InputError: the sweep cannot be planned, it has no group that is called as its baseline, a job sets a
            loss that has no effect, or its folder holds a job with another configuration.
    """
    config = launching.config
    settings, folds = read_settings(SweepSettings, config.sweep, "sweep"), command_settings(config).folds
    file = config.split.file
    command = [_with_folds(word, command, file, folds) for word in command]
    if any(word.startswith("paths.run=") for word in command):
        raise InputError("paths.run: is the folder of a single run; set paths.sweep for the runs of a sweep")
    texts = settings.jobs or {"": ""}
    lines = {
        name: _with_folds(line, [*shlex.split(line), *command], file, folds) for name, line in texts.items()
    }
    jobs = plan_jobs(lines, command)
    if settings.baseline not in (None, *(job.group for job in jobs)):
        groups = ", ".join(dict.fromkeys(job.group for job in jobs))
        raise InputError(
            f"sweep.baseline: got {settings.baseline!r}, wanted one of {groups}, or null for the first"
        )
    chosen = with_references((job for job in jobs if job.line in (settings.only or lines)), jobs)
    refuse_other_losses(config, chosen)
    name = sweep_name(lines, command, settings.name or config.hydra.runtime.choices.get("sweep"))
    folder = sweep_folder(launching, name)
    with locked(folder):
        sweep = Sweep(
            name, settings.baseline, tuple(SweepJob(job.name, job.group, job.described) for job in jobs)
        )
        return _run_jobs(launching, sweep, folder, jobs, chosen, timed=settings.timed)


def _with_folds(text: str, words: Sequence[str], file: str | None, folds: int) -> str:
    """Return overrides with `fold=all` replaced by all folds of the split file that `words` name, or `file`.

    Without a file there are as many as `folds`.

    Raises:
        InputError: the file of the split has no folds, or there are several such files.
    """
    if ALL_FOLDS not in text.split():
        return text
    chosen = parse(readable(words, several=True), "sweep").get("split.file")
    if chosen is not None and chosen.is_sweep_override():
        raise InputError(f"{ALL_FOLDS}: got several files in split.file, wanted one")
    found = file if chosen is None else chosen.value()
    return with_all_folds(text, range(folds) if found is None else folds_in(Path(str(found))))


def _run_jobs(
    launching: Launching,
    sweep: Sweep,
    folder: Path,
    jobs: Sequence[Job],
    chosen: Sequence[Job],
    *,
    timed: bool,
) -> bool:
    """Run the chosen jobs that are not done, and collect the results; the sweep's folder is locked."""
    config = launching.config
    waiting = record_jobs(config, folder, jobs, chosen)
    write_sweep(folder, sweep)
    log.info(
        "sweep %s: %d jobs, %d of them done -> %s",
        *(sweep.name, len(chosen), len(chosen) - len(waiting), folder),
    )
    configurations = (compose(config, job.overrides) for job in waiting if not job.references)
    prepare_once(configurations, cores_per_job(config))
    with progress_line(folder, [job.name for job in chosen]):
        launch_in_order(launching, folder, jobs, waiting)
    if timed and not all_timed(folder):
        time_runs(folder, config)
    _collect(folder, sweep)
    return all(state(folder, job.name) == "done" for job in chosen)


def sweep_folder(launching: Launching, name: str) -> Path:
    """Return the folder set by `paths.sweep`, or a folder with the sweep's name below the task's runs.

    Raises:
        InputError: the path contains ${, which Hydra would interpolate.
    """
    config = launching.config
    folder = Path(config.paths.sweep or Path("runs", config.hydra.runtime.choices.task, name))
    if "${" in str(folder):
        raise InputError(f"paths.sweep: got {folder}, wanted a path without ${{, as jobs run there")
    return folder


def _collect(folder: Path, sweep: Sweep) -> None:
    from app.cli.sweep.collect import collect  # charts take a second to import

    collect(folder, sweep)
