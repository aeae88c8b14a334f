"""Cases whose references annotate only some labels.

In a batch, the background of such a case gets a value of its own. The value stands for a set of labels: the
background and all labels that the case does not annotate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.errors import InputError
from app.core.task import Task
from app.data.plan.sides import mirrored_values
from app.io.label_values import class_type


@dataclass(frozen=True)
class PartialLabels:
    """The sets of labels that background may stand for.

    Values `first`, `first` + 1, ... stand for `sets`, each with the background and the labels not annotated.
    """

    first: int
    sets: tuple[tuple[int, ...], ...]
    codes: Mapping[str, int]
    """The value of background in a case, by its id; cases that annotate all labels are not in it."""

    def swapped(self, values: Sequence[int]) -> tuple[int, ...]:
        """Return `values`, the label that each label becomes in a mirror image, extended to the sets.

        Raises:
            InputError: a set has no mirror image among the sets.
        """
        if not values or not self.sets:
            return tuple(values)
        mirrored = [tuple(sorted(values[label] for label in each)) for each in self.sets]
        if not set(mirrored) <= set(self.sets):
            raise InputError(
                "plan.mirror: got pairs of labels that do not follow from their names, which is not possible "
                "if cases annotate only some labels; set plan.mirror=false"
            )
        return (*values, *(self.first + self.sets.index(each) for each in mirrored))


def partial_labels(task: Task) -> PartialLabels:
    """Return the sets of a task, and their mirror images by the names of its labels.

    Raises:
        InputError: there are more sets than values left.
    """
    known = range(len(task.segmented))
    mirror = mirrored_values(task.segmented)
    by_case = {
        case.id: tuple(sorted(set(known) - set(case.annotated)))
        for case in task.cases
        if case.annotated is not None and set(known) - set(case.annotated) != {0}
    }
    mirrored = [tuple(sorted(mirror[label] for label in each)) for each in by_case.values()]
    sets = tuple(dict.fromkeys([*by_case.values(), *mirrored]))
    first = len(task.labels)
    most = int(np.iinfo(class_type(first)).max) + 1 - first  # that voxels of label maps can express
    if len(sets) > most:
        raise InputError(
            f"{task.name}: got {len(sets)} combinations of annotated labels, wanted at most {most}"
        )
    codes = {case: first + sets.index(each) for case, each in by_case.items()}
    return PartialLabels(first, sets, codes)
