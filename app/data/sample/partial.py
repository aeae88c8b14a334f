"""Cases whose references annotate only some labels: what their background stands for in a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.errors import InputError
from app.core.task import Task
from app.data.plan.sides import mirrored_values

_VALUES = 256  # of a label map's voxels


@dataclass(frozen=True)
class PartialLabels:
    """Values from `first` on stand for sets of labels: background and all that a case does not annotate."""

    first: int
    sets: tuple[tuple[int, ...], ...]
    codes: Mapping[str, int]
    """The value of background in a case, by its id; cases that annotate all labels are not in it."""

    def swapped(self, values: Sequence[int]) -> tuple[int, ...]:
        """`values`, the label that each label becomes in a mirror image, continued for the sets.

        Raises:
            InputError: a set has no mirror image among the sets.
        """
        if not values or not self.sets:
            return tuple(values)
        mirrored = [tuple(sorted(values[label] for label in each)) for each in self.sets]
        if not set(mirrored) <= set(self.sets):
            raise InputError(
                "plan.mirror: got pairs of labels that their names do not show, which cases with partial "
                "annotation cannot follow; set plan.mirror=false"
            )
        return (*values, *(self.first + self.sets.index(each) for each in mirrored))


def partial_labels(task: Task) -> PartialLabels:
    """The sets of a task, closed under mirroring by the names of its labels.

    Raises:
        InputError: more sets than there are values left.
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
    if first + len(sets) > _VALUES:
        raise InputError(
            f"{task.name}: got {len(sets)} combinations of annotated labels, wanted at most {_VALUES - first}"
        )
    codes = {case: first + sets.index(each) for case, each in by_case.items()}
    return PartialLabels(first, sets, codes)
