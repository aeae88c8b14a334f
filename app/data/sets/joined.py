"""Joining the data sets of several folders into one task."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.core.errors import InputError
from app.core.file_labels import FileLabels
from app.core.reading import BY_SUFFIX
from app.core.task import Case, Task

_LONGEST = 100  # characters of a name, which names a folder of the cache


def joined(tasks: Sequence[Task]) -> Task:
    """Return one task with the cases of all; labels of one name are one label.

    - A case does not annotate the labels that only other folders have.
    - If two folders have one value for different labels, or one label with different values, labels are
      numbered 1, 2, ... in the order in which the folders have them.
    - Cases that have the name of a case in another folder get the name of their folder as a suffix.

    Raises:
        InputError: a folder is given twice, channels differ, or labels differ and there are regions or
            ignored labels.
    """
    first, *others = tasks
    if not others:
        return first
    _refuse_twice([folder for task in tasks for folder in task.folders])
    _refuse_other_channels(tasks)
    alike = all((one.labels, one.label_values) == (first.labels, first.label_values) for one in others)
    _refuse_other_targets(tasks, alike=alike)
    names, values = (first.labels, first.values) if alike else _all_labels(tasks)
    ids = Counter(case.id for task in tasks for case in task.cases)
    suffixes = _suffixes(tasks)
    return replace(
        first,
        name="+".join(task.name for task in tasks)[:_LONGEST],
        labels=names,
        values=values,
        cases=tuple(
            _case(case, task, names, part=part, alike=alike, suffix=suffixes[part], ids=ids)
            for part, task in enumerate(tasks)
            for case in task.cases
        ),
        folders=tuple(folder for task in tasks for folder in task.folders),
        reading=next((task.reading for task in tasks if task.reading.channels == BY_SUFFIX), first.reading),
    )


def _all_labels(tasks: Sequence[Task]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names of all labels and their values, empty for 0, 1, 2, ... or if folders disagree."""
    pairs = dict.fromkeys(
        pair for task in tasks for pair in zip(task.labels[1:], task.label_values[1:], strict=True)
    )
    names = tuple(dict.fromkeys(name for name, _ in pairs))
    if len(names) < len(pairs) or len({value for _, value in pairs}) < len(pairs):
        return ("background", *names), ()
    ordered = sorted(pairs, key=lambda pair: pair[1])
    values = (0, *(value for _, value in ordered))
    plain = values == tuple(range(len(values)))
    return ("background", *(name for name, _ in ordered)), () if plain else values


def _case(
    case: Case,
    task: Task,
    names: Sequence[str],
    *,
    part: int,
    alike: bool,
    suffix: str,
    ids: Counter[str],
) -> Case:
    """Return a case of the joined task, whose labels have these names."""
    classes = (0, *(names.index(name) for name in task.labels[1:]))
    own = range(1, len(task.labels)) if case.annotated is None else case.annotated
    annotated = tuple(sorted(classes[index] for index in own))
    clashes = ids[case.id] > 1
    return replace(
        case,
        id=f"{case.id}_{suffix}" if clashes else case.id,
        listed_as=case.id if clashes else None,
        annotated=None if len(annotated) == len(names) - 1 else annotated,
        file_labels=None if alike else FileLabels(task.labels, task.label_values, classes),
        part=part,
    )


def _suffixes(tasks: Sequence[Task]) -> list[str]:
    """Return a name for each folder, made distinct by a number."""
    seen: Counter[str] = Counter()
    found = []
    for task in tasks:
        seen[task.name] += 1
        found.append(task.name if seen[task.name] == 1 else f"{task.name}-{seen[task.name]}")
    return found


def _refuse_twice(folders: Sequence[Path]) -> None:
    twice = [folder for folder, count in Counter(each.resolve() for each in folders).items() if count > 1]
    if twice:
        raise InputError(f"task.folder: got {twice[0]} twice, wanted each folder once")


def _refuse_other_channels(tasks: Sequence[Task]) -> None:
    for task in tasks[1:]:
        if task.modalities != tasks[0].modalities:
            raise InputError(
                f"task.folder: {task.folders[0]} has the channels {', '.join(task.modalities)}, "
                f"{tasks[0].folders[0]} has {', '.join(tasks[0].modalities)}; wanted the same names in the "
                "same order"
            )


def _refuse_other_targets(tasks: Sequence[Task], *, alike: bool) -> None:
    """Refuse regions and ignored labels that only some folders have."""
    for task in tasks[1:]:
        same = alike and (task.regions, task.ignore) == (tasks[0].regions, tasks[0].ignore)
        if not same and any(each.regions or each.ignore is not None for each in (task, tasks[0])):
            raise InputError(
                f"task.folder: {task.folders[0]} and {tasks[0].folders[0]} have different labels, regions or "
                "ignored labels; folders with regions or an ignored label need the same ones"
            )
