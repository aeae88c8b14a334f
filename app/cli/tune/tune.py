"""Optuna proposes, jobs answer: ask, launch, tell, until there are as many trials as wanted."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate
from optuna.distributions import BaseDistribution
from optuna.pruners import NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from app.cli.config.run_log import log_into
from app.cli.config.settings import plain, read_settings
from app.cli.sweep.collect import collect
from app.cli.sweep.compose import compose
from app.cli.sweep.jobs import Job, choices, sweep_name
from app.cli.sweep.launch import Launching, launch_in_order, record_jobs, state
from app.cli.sweep.prepare import prepare_once
from app.cli.sweep.progress import progress_line
from app.cli.sweep.sweep import sweep_folder
from app.cli.sweep.watching import watching
from app.cli.tune.experiment import remove_experiments, write_experiment
from app.cli.tune.pruning import Pruning
from app.cli.tune.settings import TuneSettings
from app.cli.tune.space import distributions
from app.cli.tune.study import answer, ask, best, left_over, open_study
from app.core.errors import InputError
from app.core.lock import locked
from app.core.sweep import Entry, Sweep, write_sweep

log = logging.getLogger(__name__)
_OURS = ("mode=", "tune=", "tune.trials=", "tune.at_once=")
"""Overrides that a study may be gone on with under other values."""


@dataclass(frozen=True)
class _Tuning:
    """A study, where its jobs are, and what they all share."""

    study: Study
    space: dict[str, BaseDistribution]
    settings: TuneSettings
    launching: Launching
    folder: Path
    command: tuple[str, ...]

    def job(self, trial: Trial | FrozenTrial) -> Job:
        """The training of a trial."""
        chosen = {key: str(value) for key, value in trial.params.items()}
        return Job(f"trial-{trial.number:03d}", choices(self.command) | chosen, ())


def tune(launching: Launching, command: Sequence[str]) -> None:
    """Run trials, each a job in a folder of its own; then write results.csv, report.html and the best."""
    folder, typed = _place(launching, command)
    with locked(folder):
        log_into(folder)
        _tune(_open(launching, folder, typed))


def _tune(tuning: _Tuning) -> None:
    study, settings = tuning.study, tuning.settings
    prepare_once([compose(tuning.launching.config, tuning.command)])
    waiting = left_over(study)
    log.info("tuning: %d of %d trials done -> %s", _ended(tuning), settings.trials, tuning.folder)
    with progress_line(tuning.folder, [f"trial-{number:03d}" for number in range(settings.trials)]):
        while waiting or _ended(tuning) < settings.trials:
            wanted = min(settings.at_once, settings.trials - _ended(tuning))
            waiting += [ask(study, tuning.space) for _ in range(wanted - len(waiting))]
            _run(tuning, waiting)
            waiting = []
    _finish(tuning)


def _place(launching: Launching, command: Sequence[str]) -> tuple[Path, list[str]]:
    """The study's folder, and the overrides that decide what its trials are."""
    cfg = launching.config
    typed = [word for word in command if not word.startswith(_OURS)]
    chosen = cfg.sweep.name or f"tune-{cfg.hydra.runtime.choices.tune}"
    return sweep_folder(launching, sweep_name({"": ""}, typed, chosen)), typed


def _open(launching: Launching, folder: Path, typed: Sequence[str]) -> _Tuning:
    cfg = launching.config
    values = plain(cfg.tune)
    del values["sampler"], values["pruner"]
    settings = read_settings(TuneSettings, values, "tune")
    if cfg.tune.pruner is not None and len(settings.objectives) > 1:
        raise InputError("tune.pruner: only a single objective can be pruned by, got several; set null")
    study = open_study(folder, settings.objectives)
    # Another seed for each start: the same one would draw the first trials again.
    study.sampler = instantiate(cfg.tune.sampler, seed=cfg.seed + len(study.trials))
    study.pruner = instantiate(cfg.tune.pruner) if cfg.tune.pruner is not None else NopPruner()
    kept = tuple(word for word in typed if not word.lstrip("+").startswith("tune."))
    return _Tuning(study, distributions(settings.space), settings, launching, folder, kept)


def _run(tuning: _Tuning, trials: Sequence[Trial | FrozenTrial]) -> None:
    jobs = [tuning.job(trial) for trial in trials]
    runs = [tuning.folder / job.name for job in jobs]
    alone = len(tuning.settings.objectives) == 1
    asked = {run: trial for run, trial in zip(runs, trials, strict=True) if isinstance(trial, Trial)}
    pruning = Pruning(asked if alone else {})
    with watching(pruning.look):
        waiting = record_jobs(tuning.launching.config, tuning.folder, jobs, jobs)
        launch_in_order(tuning.launching, tuning.folder, jobs, waiting)
    for trial, job, run in zip(trials, jobs, runs, strict=True):
        failed = state(tuning.folder, job.name) != "done"
        answer(tuning.study, trial.number, run, failed=failed, pruned=run in pruning.pruned)


def _ended(tuning: _Tuning) -> int:
    return sum(trial.state.is_finished() for trial in tuning.study.trials)


def _finish(tuning: _Tuning) -> None:
    jobs = [tuning.job(trial) for trial in tuning.study.trials]
    sweep = Sweep("tune", None, tuple(Entry(job.name, job.name, job.described) for job in jobs))
    write_sweep(tuning.folder, sweep)
    collect(tuning.folder, sweep)
    names, found = list(tuning.settings.objectives), best(tuning.study)
    if not found:
        raise InputError(f"tune: none of {len(jobs)} trials came to an end; see {tuning.folder}")
    remove_experiments(tuning.folder)
    for trial in found:
        job = tuning.job(trial)
        reached = ", ".join(f"{name} {value:.6g}" for name, value in zip(names, trial.values, strict=True))
        path = write_experiment(tuning.folder, job.name, job.described, reached)
        chosen = " ".join(f"{key}={value}" for key, value in trial.params.items())
        log.info("best: %s (%s) -> %s", chosen, reached, path)
