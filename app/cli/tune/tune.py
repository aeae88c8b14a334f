"""The loop of a study: ask Optuna for trials, launch their jobs, and report their results."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from app.cli.config.command_settings import ALL_FOLDS
from app.cli.config.paths import quoted
from app.cli.config.run_log import log_into
from app.cli.config.settings import read_settings, section_values
from app.cli.sweep.collect import collect
from app.cli.sweep.compose import compose
from app.cli.sweep.jobs import Job, choices, is_place, sweep_name
from app.cli.sweep.launch import Launching, launch_in_order, record_jobs, state
from app.cli.sweep.pinning import cores_per_job
from app.cli.sweep.prepare import prepare_once
from app.cli.sweep.progress import progress_line
from app.cli.sweep.sweep import sweep_folder
from app.cli.sweep.watching import watching
from app.cli.tune.experiment import remove_experiments, write_experiment
from app.cli.tune.pruning import Pruning
from app.cli.tune.settings import TuneSettings
from app.cli.tune.space import distributions
from app.cli.tune.study import ask, best, keeping, left_over, open_study, report_trial
from app.core.errors import InputError
from app.core.lock import locked
from app.core.sweep import Sweep, SweepJob, write_sweep

log = logging.getLogger(__name__)
_WORDLIKE = re.compile(r"[A-Za-z_][\w./-]*|\[.*\]|\{.*\}", re.ASCII | re.DOTALL)
_OURS = ("mode=", "tune=", "tune.trials=", "tune.at_once=")
"""Overrides whose values may change when a study continues."""


@dataclass(frozen=True)
class _Tuning:
    """A study, its folder, and what its jobs share."""

    study: Study
    space: dict[str, BaseDistribution]
    settings: TuneSettings
    launching: Launching
    folder: Path
    command: tuple[str, ...]

    def job(self, trial: Trial | FrozenTrial) -> Job:
        """Return the job that trains a trial."""
        chosen = {key: _word(value) for key, value in trial.params.items()}
        return Job(f"trial-{trial.number:03d}", choices(self.command) | chosen, ())


def tune(launching: Launching, command: Sequence[str]) -> None:
    """Run trials, each a job in its own folder; then write results.csv, report.html and the best trials."""
    folder, typed = _place(launching, command)
    with locked(folder), keeping(folder):
        log_into(folder)
        _tune(_open(launching, folder, typed))


def _tune(tuning: _Tuning) -> None:
    study, settings = tuning.study, tuning.settings
    config = tuning.launching.config
    prepare_once([compose(config, tuning.command)], cores_per_job(config))
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
    """Return the study's folder, and the overrides that determine its trials.

    Raises:
        InputError: the command holds out all folds.
    """
    cfg = launching.config
    if ALL_FOLDS in command:
        raise InputError(f"{ALL_FOLDS}: a trial of mode=tune holds out one fold; leave it out, or set fold=0")
    typed = [word for word in command if not word.startswith(_OURS)]
    chosen = cfg.sweep.name or f"tune-{cfg.hydra.runtime.choices.tune}"
    return sweep_folder(launching, sweep_name({"": ""}, typed, chosen)), typed


def _open(launching: Launching, folder: Path, typed: Sequence[str]) -> _Tuning:
    cfg = launching.config
    values = section_values(cfg.tune)
    del values["sampler"], values["pruner"]
    settings = read_settings(TuneSettings, values, "tune")
    if cfg.tune.pruner is not None and len(settings.objectives) > 1:
        raise InputError("tune.pruner: got several objectives, wanted one; set tune.pruner=null")
    space = distributions(settings.space)
    kept = tuple(word for word in typed if not word.lstrip("+").startswith("tune."))
    _refuse_wrong_values(launching, kept, space)
    study = open_study(folder, settings.objectives, space)
    _note_command(study, kept)
    # Each start needs another seed, because the same one would draw the first trials again.
    study.sampler = instantiate(cfg.tune.sampler, seed=cfg.seed + len(study.trials))
    study.pruner = instantiate(cfg.tune.pruner) if cfg.tune.pruner is not None else NopPruner()
    return _Tuning(study, space, settings, launching, folder, kept)


def _run(tuning: _Tuning, trials: Sequence[Trial | FrozenTrial]) -> None:
    jobs = [tuning.job(trial) for trial in trials]
    runs = [tuning.folder / job.name for job in jobs]
    alone = len(tuning.settings.objectives) == 1
    asked = {run: trial for run, trial in zip(runs, trials, strict=True) if isinstance(trial, Trial)}
    pruning = Pruning(asked if alone else {})
    with watching(pruning.look):
        waiting = [job for job in jobs if _recorded(tuning, job)]
        launch_in_order(tuning.launching, tuning.folder, jobs, waiting)
    for trial, job, run in zip(trials, jobs, runs, strict=True):
        failed = state(tuning.folder, job.name) != "done"
        report_trial(tuning.study, trial.number, run, failed=failed, pruned=run in pruning.pruned)


def _recorded(tuning: _Tuning, job: Job) -> bool:
    """Record a job that is not done; return whether it can be launched. An error affects only this job.

    A trial that an interruption left, or that failed, is trained again if the command has been corrected.
    """
    config, folder = tuning.launching.config, tuning.folder
    try:
        return bool(record_jobs(config, folder, [job], [job], replace=True))
    except InputError as error:
        log.error("failed: %s: %s", job.name, error)
        return False


def _refuse_wrong_values(
    launching: Launching, command: Sequence[str], space: Mapping[str, BaseDistribution]
) -> None:
    """Compose each value to choose from once, so that a wrong name is reported before the first trial.

    Raises:
        InputError: a key or a value of the space does not exist.
    """
    for key, found in space.items():
        values = found.choices if isinstance(found, CategoricalDistribution) else (getattr(found, "low", 0),)
        for value in values:
            try:
                compose(launching.config, [*command, f"{key}={_word(value)}"])
            except InputError as error:
                raise InputError(f"tune.space.{key}: {str(error).removeprefix('sweep: ')}") from None


def _note_command(study: Study, command: Sequence[str]) -> None:
    """Warn if earlier trials were trained with other options than later ones will be."""
    typed = sorted(word for word in command if not is_place(word.partition("=")[0]))
    before = study.user_attrs.get("command", typed)
    if before != typed and study.trials:
        log.warning("earlier trials were trained with %s, the next ones with %s", before, typed)
    study.set_user_attr("command", typed)


def _word(value: object) -> str:
    """Return a value as it is written in an override; text that Hydra would misread is put in quotes."""
    text = str(value)
    return quoted(text) if isinstance(value, str) and _WORDLIKE.fullmatch(text) is None else text


def _ended(tuning: _Tuning) -> int:
    return sum(trial.state.is_finished() for trial in tuning.study.trials)


def _finish(tuning: _Tuning) -> None:
    jobs = [tuning.job(trial) for trial in tuning.study.trials]
    sweep = Sweep("tune", None, tuple(SweepJob(job.name, job.name, job.described) for job in jobs))
    write_sweep(tuning.folder, sweep)
    collect(tuning.folder, sweep)
    names, found = list(tuning.settings.objectives), best(tuning.study)
    if not found:
        raise InputError(f"tune: none of {len(jobs)} trials finished; see {tuning.folder}")
    remove_experiments(tuning.folder)
    for trial in found:
        job = tuning.job(trial)
        reached = ", ".join(f"{name} {value:.6g}" for name, value in zip(names, trial.values, strict=True))
        path = write_experiment(tuning.folder, job.name, job.described, reached)
        chosen = " ".join(f"{key}={value}" for key, value in trial.params.items())
        log.info("best: %s (%s) -> %s", chosen, reached, path)
    failed = sum(trial.state == TrialState.FAIL for trial in tuning.study.trials)
    if failed:
        log.warning(
            "%d of %d trials failed; once the cause is removed, tune.trials=%d with the same command runs as "
            "many others",
            *(failed, len(jobs), len(jobs) + failed),
        )
