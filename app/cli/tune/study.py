"""The study on disk: what was proposed, what came of it, and which trials none other beats."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_json

_FILE = "study.db"


def open_study(folder: Path, objectives: Mapping[str, str]) -> Study:
    """Create the study, or go on with it; `objectives` maps figures of summary.json to their directions.

    Raises:
        InputError: the study on disk has other objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{(folder / _FILE).resolve()}",
        study_name="tune",
        directions=list(objectives.values()),
        load_if_exists=True,
    )
    before = study.user_attrs.get("objectives", dict(objectives))
    if before != dict(objectives):
        raise InputError(f"tune.objectives: got {dict(objectives)}, {folder / _FILE} was begun with {before}")
    study.set_user_attr("objectives", dict(objectives))
    return study


def left_over(study: Study) -> list[Trial | FrozenTrial]:
    """Return trials that an interruption left without an answer; they are answered, but never pruned."""
    return [*study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]


def ask(study: Study, space: Mapping[str, BaseDistribution]) -> Trial:
    """A trial with a proposal for each key of the space.

    Raises:
        InputError: the study was begun with other values to choose from.
    """
    try:
        return study.ask(dict(space))
    except ValueError as error:
        raise InputError(f"tune.space: {error}; set another folder with paths.sweep") from None


def answer(study: Study, number: int, run: Path, *, failed: bool, pruned: bool) -> None:
    """Tell the study how a trial ended.

    Raises:
        InputError: the run has no such figure as is sought.
    """
    if failed or pruned:
        study.tell(number, state=TrialState.FAIL if failed else TrialState.PRUNED)
    else:
        study.tell(number, figures(run, study.user_attrs["objectives"]))


def figures(run: Path, objectives: Mapping[str, str]) -> list[float]:
    """What a run reached, in the order of the objectives.

    Raises:
        InputError: summary.json has no such figure.
    """
    summary: dict[str, Any] = read_json(run / run_folder.SUMMARY)
    known = [name for name, value in summary.items() if isinstance(value, int | float)]
    for name in objectives:
        if name not in known:
            raise InputError(f"tune.objectives: got {name!r}, the figures of {run} are {', '.join(known)}")
    return [float(summary[name]) for name in objectives]


def best(study: Study) -> list[FrozenTrial]:
    """The best trial; with several objectives those that none other beats in all of them."""
    return sorted(study.best_trials, key=lambda trial: trial.values)
