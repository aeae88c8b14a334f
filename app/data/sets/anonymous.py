"""Renaming cases that are named after their patients, before anything about them is written."""

import logging
from dataclasses import replace

from app.core.hidden import hide
from app.core.task import Case, Hidden, Task
from app.io.privacy import Alias, known_as

log = logging.getLogger(__name__)


def without_patients(task: Task, dataset: str) -> Task:
    """Return the task with new names for cases whose files or folders name their patients.

    The new names come from the UID of the series. For these cases, runs record the position in `dataset`, the
    file that lists the cases, instead of paths. The old names are hidden in log lines and errors.
    """
    names = {case.image: case.id for case in task.cases}
    aliases = known_as(names, anonymous=True, beside={case.image: case.label for case in task.cases})
    taken = {case.id for case in task.cases}
    cases = []
    for position, case in enumerate(task.cases):
        alias = aliases[case.image]
        cases.append(_hidden(case, alias, dataset, position, taken) if alias.telling else case)
        taken.add(cases[-1].id)
    renamed = [case for case in cases if case.own_id != case.id]
    if renamed:
        log.warning(
            "%d cases are named after their patients; results call them after their series, such as %s; "
            "see task.anonymous",
            *(len(renamed), renamed[0].id),
        )
    return replace(task, cases=tuple(cases))


def _hidden(case: Case, alias: Alias, dataset: str, position: int, taken: set[str]) -> Case:
    hide(alias.words)
    name, number = alias.name, 1
    while name != case.id and name in taken:  # a series that is listed twice
        number += 1
        name = f"{alias.name}_{number}"
    return replace(case, id=name, hidden=Hidden(case.id, dataset, position, alias.words))
