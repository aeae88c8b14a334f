"""The columns of `task.strata`, by which scores are divided."""

import logging
from collections.abc import Iterable
from pathlib import Path

from app.cli.config.task import TaskSettings
from app.core.listed import listed
from app.core.task import Task
from app.metrics.results import read_columns
from app.metrics.score import Columns

log = logging.getLogger(__name__)


def read_strata(task: Task, settings: TaskSettings, scored: Iterable[str]) -> Columns:
    """Return the columns of `task.strata` by the cases' current names; log which cases have no value there.

    `scored` are the cases whose scores are divided.

    Raises:
        InputError: the file of `task.strata` is wrong.
    """
    if settings.strata is None:
        return {}
    called = {case.own_id: case.id for case in (*task.cases, *task.test)}
    columns = {
        name: {called.get(case, case): value for case, value in values.items()}
        for name, values in read_columns(Path(settings.strata)).items()
    }
    valued = set().union(*columns.values())
    cases = list(scored)
    if lacking := [case for case in cases if case not in valued]:
        log.warning(
            "task.strata: %s has no value for %d of %d cases, which are in no stratum: %s",
            *(settings.strata, len(lacking), len(cases), listed(lacking)),
        )
    return columns
