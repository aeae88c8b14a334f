"""Warnings of labels that cannot be learnt: absent from all training cases, or too small for the grid."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

from app.core.plan import Plan
from app.core.task import Case, Task
from app.data.prepare.cache import Cache, CachedCase
from app.data.prepare.geometry import forward_labels, plan_geometry
from app.data.prepare.prepare import read_case
from app.data.sample.split import Split
from app.io.label_values import count_values

log = logging.getLogger(__name__)
_SHOWN = 5  # cases named in a message
_SMALL = 8  # voxels of the planned grid; a smaller label may vanish completely from a case

Volumes = Mapping[str, Sequence[float]]
"""Volume in mm3 of label values 1, 2, ... by case id."""


def tell_of_absent(task: Task, split: Split, volumes: Volumes) -> None:
    """Warn of labels that no training case has, and name the held-out cases that have them."""
    for index, name in enumerate(task.foreground):
        having = [case for case in volumes if volumes[case][index] > 0]
        trains = [case.id for case in split.training if volumes[case.id][index] > 0]
        if trains:
            continue
        if having:
            log.warning(
                "label %s (%d) is in none of %d training cases, only in %d held-out ones (%s): it cannot be "
                "learnt; set another fold, split.stratify=true or fold=none",
                *(name, index + 1, len(split.training), len(having), _listed(having)),
            )
        else:
            log.warning(
                "label %s (%d) is in none of %d cases: it cannot be learnt; take it out of dataset.json, or "
                "add cases that show it",
                *(name, index + 1, len(volumes)),
            )


def tell_of_vanished(task: Task, plan: Plan, volumes: Volumes, cached: Mapping[str, CachedCase]) -> None:
    """Warn of labels that a case has in its own grid but not in its prepared arrays."""

    def left(case: str) -> set[int]:
        return {int(value) for value in cached[case].foreground()[:, 0]}

    _tell(task, plan, {case: _present(volumes[case]) for case in volumes}, left)


def foretell_vanished(cache: Cache, task: Task, plan: Plan, volumes: Volumes) -> None:
    """Warn of labels that will vanish, before any case is prepared.

    Only small labels, of a few voxels of the planned grid, are resampled to check them.
    """
    small = _SMALL * math.prod(plan.spacing)
    doubtful = {
        case: {value for value in _present(found) if found[value - 1] < small}
        for case, found in volumes.items()
    }
    by_id = {case.id: case for case in task.cases}
    _tell(
        task,
        plan,
        {case: values for case, values in doubtful.items() if values},
        lambda case: _on_the_grid(by_id[case], task, plan),
    )


def _present(found: Sequence[float]) -> set[int]:
    return {value for value, volume in enumerate(found, start=1) if volume > 0}


def _on_the_grid(case: Case, task: Task, plan: Plan) -> set[int]:
    volume, label_map = read_case(case, task)
    geometry = plan_geometry(volume.voxels, volume.affine, plan.spacing)
    return {int(value) for value in count_values(forward_labels(label_map.voxels, geometry))}


def _tell(task: Task, plan: Plan, before: Mapping[str, set[int]], left: Callable[[str], set[int]]) -> None:
    gone = {case: values - left(case) for case, values in before.items() if values}
    for value, name in enumerate(task.foreground, start=1):
        cases = [case for case, values in gone.items() if value in values]
        if cases:
            log.warning(
                "label %s (%d) vanishes from %d cases on the planned grid of %s mm: %s; they train as if "
                "they had none; plan.spacing sets a finer grid",
                *(name, value, len(cases), " x ".join(f"{mm:.3g}" for mm in plan.spacing), _listed(cases)),
            )


def _listed(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - _SHOWN} more" if len(cases) > _SHOWN else ""
    return f"{', '.join(cases[:_SHOWN])}{more}"
