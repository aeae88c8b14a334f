"""The study on disk: its trials, their results, and the best ones."""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_json

log = logging.getLogger(__name__)
_FILE = "study.db"
_NAME = "tune"
_ANSWERED = (TrialState.COMPLETE, TrialState.PRUNED)


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Turn an error of the study's file into one line; trials without a result run again.

    Raises:
        InputError: the file cannot be read or written.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        why = str(getattr(cause, "orig", None) or cause or error).splitlines()[0]
        raise InputError(
            f"{folder / _FILE}: cannot be read or written ({why}); make room, or make the folder writable, "
            "and run the same command again"
        ) from error


def open_study(
    folder: Path, objectives: Mapping[str, str], space: Mapping[str, BaseDistribution] | None = None
) -> Study:
    """Create the study, or continue it; `objectives` maps figures of summary.json to their directions.

    A study without any result begins again if its objectives or its search space have changed, or if all of
    its trials failed.

    Raises:
        InputError: the study on disk has trials with other objectives or another search space.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = (folder / _FILE).resolve()
    # Not opened by a URL, in which characters such as ? and % would have a meaning.
    opened = {"creator": lambda: sqlite3.connect(path, timeout=60), "poolclass": NullPool}
    storage = RDBStorage("sqlite://", engine_kwargs=opened)
    study = _created(storage, objectives)
    trials = study.get_trials(deepcopy=False)
    before = study.user_attrs.get("objectives", dict(objectives))
    differ = before != dict(objectives)
    if trials and not any(trial.state in _ANSWERED for trial in trials):
        waits = any(trial.state == TrialState.RUNNING for trial in trials)
        if differ or not waits or not all(_fits(trial, space or trial.distributions) for trial in trials):
            optuna.delete_study(study_name=_NAME, storage=storage)
            study = _created(storage, objectives)
    elif differ:
        raise InputError(
            f"tune.objectives: got {dict(objectives)}, {folder / _FILE} was started with {before}"
        )
    study.set_user_attr("objectives", dict(objectives))
    return study


def _created(storage: RDBStorage, objectives: Mapping[str, str]) -> Study:
    ways = list(objectives.values())
    return optuna.create_study(storage=storage, study_name=_NAME, directions=ways, load_if_exists=True)


def _fits(trial: FrozenTrial, space: Mapping[str, BaseDistribution]) -> bool:
    """Return whether a trial was drawn from the current space."""
    return dict(trial.distributions) == dict(space)


def left_over(study: Study) -> list[Trial | FrozenTrial]:
    """Return trials that an interruption left without a result; they run again, but are never pruned."""
    return [*study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]


def ask(study: Study, space: Mapping[str, BaseDistribution]) -> Trial:
    """Return a new trial with a proposal for each key of the space.

    Raises:
        InputError: the study was started with another search space.
    """
    try:
        return study.ask(dict(space))
    except ValueError as error:
        raise InputError(f"tune.space: {error}; set another folder with paths.sweep") from None


def report_trial(study: Study, number: int, run: Path, *, failed: bool, pruned: bool) -> None:
    """Report to the study how a trial ended; a trial with undefined figures has failed.

    Raises:
        InputError: the run has no figure with an objective's name.
    """
    if failed or pruned:
        study.tell(number, state=TrialState.FAIL if failed else TrialState.PRUNED)
        return
    try:
        found = figures(run, study.user_attrs["objectives"])
    except InputError:
        study.tell(number, state=TrialState.FAIL)
        raise
    undefined = [name for name, value in found.items() if value is None]
    if undefined:
        log.warning("trial %d failed: %s is undefined in %s", number, ", ".join(undefined), run)
        study.tell(number, state=TrialState.FAIL)
    else:
        study.tell(number, [float(value) for value in found.values() if value is not None])


def figures(run: Path, objectives: Mapping[str, str]) -> dict[str, float | None]:
    """Return the figures of a run in the order of the objectives; None if undefined.

    Raises:
        InputError: summary.json has no such figure.
    """
    summary: dict[str, Any] = read_json(run / run_folder.SUMMARY)
    known = [name for name, value in summary.items() if isinstance(value, int | float | None)]
    for name in objectives:
        if name not in known:
            raise InputError(f"tune.objectives: got {name!r}, the figures of {run} are {', '.join(known)}")
    return {name: summary[name] for name in objectives}


def best(study: Study) -> list[FrozenTrial]:
    """Return the best trial; with several objectives, all trials on the Pareto front."""
    return sorted(study.best_trials, key=lambda trial: trial.values)
