"""Merging, selecting and reordering the labels of a data set for a task, without writing new files."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.core.errors import InputError
from app.core.file_labels import FileLabels
from app.core.listed import listed
from app.core.task import Case, Task
from app.io.label_values import LARGEST_VALUE, listed_values

IGNORED = "ignored"
"""Name of the class of several ignored labels, which are used neither in training nor in scores."""

log = logging.getLogger(__name__)


def relabelled(task: Task, labels: Mapping[str, Any] | None, ignored: Sequence[Any]) -> Task:
    """Return the task with the labels `{name: values}`, numbered 1, 2, ... in that order.

    A value is a label value of the files, or the name of a label of the data set. Labels that neither
    `labels` nor `ignored` names become background; without `labels`, all labels that are not ignored stay,
    with their values. Ignored labels, including one that the data set ignores, become one class, the last.
    Regions of the data set are left out if `labels` are given. A case annotates a new label if it annotates
    all labels merged into it; cases that annotate none of the new labels are left out.

    Raises:
        InputError: a label does not exist in the data set or is named twice, or no label or no case is left.
    """
    left = _classes(task, ignored, "task.ignore")
    if task.ignore is not None and task.ignore not in left:
        left = (*left, task.ignore)
    own = range(1, len(task.labels))
    wanted = (
        {str(name): _classes(task, values, f"task.labels: {name}") for name, values in labels.items()}
        if labels
        else {task.labels[index]: (index,) for index in own if index not in left}
    )
    _refuse_twice(task, [*wanted.items(), *([(IGNORED, left)] if left else [])])
    if not wanted:
        raise InputError(f"task.ignore: got {listed(task.labels[1:])}, which leaves no label to learn")
    classes = [0] * len(task.labels)
    for number, members in enumerate([*wanted.values(), left], start=1):
        for index in members:
            classes[index] = number
    files = FileLabels(task.labels, task.label_values, tuple(classes))
    names = ("background", *wanted) if labels else tuple(task.labels[i] for i in (0, *own) if i not in left)
    values = () if labels else _kept_values(task, left)
    count = len(wanted)
    cases = tuple(_case(case, files, count) for case in task.cases)
    kept = tuple(case for case in cases if case.annotated != ())
    if len(kept) < len(cases):
        log.info("task.labels: %d cases annotate none of the labels and are left out", len(cases) - len(kept))
    if not kept:
        raise InputError(f"task.labels: no case annotates any of {listed(wanted)}")
    return replace(
        task,
        labels=(*names, *([task.labels[left[0]] if len(left) == 1 else IGNORED] if left else [])),
        values=values,
        cases=kept,
        ignore=len(names) if left else None,
        regions={} if labels else _regions(task, left, classes),
    )


def labels_text(task: Task) -> str:
    """Return a text with the file values merged into each label; empty if labels are those of the files."""
    files = task.file_labels
    if files is None:
        return ""
    parts = [f"{name} = {listed_values(files.values_of(n))}" for n, name in enumerate(task.labels) if n]
    out = [value for value in files.values_of(0) if value]
    return "; ".join([*parts, *([f"background also includes {listed_values(out)}"] if out else [])])


def _classes(task: Task, values: Any, key: str) -> tuple[int, ...]:
    """Return the indices of the data set's labels with these values or names."""
    found = []
    for value in values if isinstance(values, list | tuple) else [values]:
        known = task.labels if isinstance(value, str) else task.label_values
        if value not in known or not (index := known.index(value)):
            named = zip(task.label_values[1:], task.labels[1:], strict=True)
            raise InputError(
                f"{key}: got {value!r}, wanted values or names among "
                f"{listed((f'{number} ({name})' for number, name in named), 9)}"
            )
        found.append(index)
    if not found and key != "task.ignore":
        raise InputError(f"{key}: got no label value, wanted at least one")
    return tuple(found)


def _refuse_twice(task: Task, parts: Sequence[tuple[str, Sequence[int]]]) -> None:
    seen: dict[int, str] = {}
    for name, members in parts:
        for index in members:
            if index in seen:
                raise InputError(
                    f"task.labels: label value {task.label_values[index]} ({task.labels[index]}) is in "
                    f"{seen[index]} and in {name}, wanted in one; labels that overlap are task.regions"
                )
            seen[index] = name


def _kept_values(task: Task, left: Sequence[int]) -> tuple[int, ...]:
    """Return the file values of kept labels, then a new one for the ignored class; empty if 0, 1, 2, ..."""
    kept = [value for index, value in enumerate(task.label_values) if index not in left]
    values = (*kept, kept[-1] + 1)
    if values[-1] > LARGEST_VALUE:
        raise InputError(f"task.ignore: got the label value {kept[-1]}, wanted at most {LARGEST_VALUE - 1}")
    return () if values == tuple(range(len(values))) else values


def _regions(task: Task, left: Sequence[int], classes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the regions of the data set as new classes, without ignored labels."""
    found = {
        name: tuple(classes[index] for index in members if index not in left)
        for name, members in task.regions.items()
    }
    return {name: members for name, members in found.items() if members}


def _case(case: Case, files: FileLabels, count: int) -> Case:
    """Return the case with its file labels, and its annotated labels as new classes."""
    annotated = case.annotated
    if annotated is not None:
        members = {n: [i for i, found in enumerate(files.classes) if found == n] for n in range(1, count + 1)}
        annotated = tuple(n for n, inside in members.items() if set(inside) <= set(annotated or ()))
        annotated = None if len(annotated) == count else annotated
    own = case.file_labels  # of a folder whose values are not those of the task
    if own is not None:
        files = FileLabels(own.names, own.values, tuple(files.classes[index] for index in own.classes))
    return replace(case, annotated=annotated, file_labels=files)
