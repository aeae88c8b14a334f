"""A task: the cases of a data set, and the classes to segment in them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.core.errors import InputError
from app.core.file_labels import FileLabels
from app.core.reading import Reading


@dataclass(frozen=True)
class Hidden:
    """Facts of a case that are not shown because its files or folders name the patient."""

    own_id: str
    """Its name in the data set."""
    dataset: str
    """The file that lists it."""
    position: int
    """Its place in that list, from 0."""
    words: tuple[str, ...]
    """Words that are hidden in messages."""


@dataclass(frozen=True)
class Case:
    """A case: one scan and, if there is one, its reference segmentation."""

    id: str
    image: Path
    label: Path | None
    annotated: tuple[int, ...] | None = None
    """Foreground classes that the reference annotates completely; None for all of them.

    Voxels of the other classes may be labelled as background.
    """
    file_labels: FileLabels | None = None
    """The labels in its label file; None if they are the task's."""
    hidden: Hidden | None = None
    """Facts that would name the patient; None if there are none."""
    part: int = 0
    """The number of its folder, if a task has cases of several folders."""
    listed_as: str | None = None
    """Its name in its own folder, if another folder of the task has a case of that name."""

    @property
    def own_id(self) -> str:
        """Return its name in the data set, in split files and in CSV files of the user."""
        return self.id if self.hidden is None else self.hidden.own_id

    @property
    def grouped_as(self) -> str:
        """Return the name by which cases are grouped: that in its own folder."""
        return self.listed_as or self.own_id

    def annotates(self, values: tuple[int, ...]) -> bool:
        """Return whether all of these classes are annotated."""
        return self.annotated is None or set(values) <= set(self.annotated)


@dataclass(frozen=True)
class GroupRule:
    """A rule that groups cases which belong together (two sides of one head, visits of one patient).

    `pattern` is a regular expression whose first group captures the group's name from a case id. With
    `block`, it must capture a number, and the numbers 1..block, block+1..2*block, ... form one group each.
    """

    pattern: str
    block: int | None

    def __post_init__(self) -> None:
        """Validate the regular expression and the block size."""
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise InputError(
                f"task.group.pattern: {self.pattern!r} is not a regular expression ({error})"
            ) from None
        if self.block is not None and self.block < 1:
            raise InputError(f"task.group.block: got {self.block}, wanted at least 1")

    def key(self, case_id: str) -> str:
        """Return the name of the group of a case.

        Raises:
            InputError: the pattern captures nothing in the case id, or no number although `block` is set.
        """
        return self.captured(case_id)

    def captured(self, case_id: str) -> str:
        """Return the text that the pattern captures in a name.

        Raises:
            InputError: it captures nothing, or no number although `block` is set.
        """
        match = re.search(self.pattern, case_id)
        captured = match.group(1) if match and match.groups() else None
        if captured is None:
            raise InputError(f"task.group.pattern {self.pattern!r} matches nothing in case id {case_id!r}")
        if self.block is None:
            return captured
        if not captured.isdigit():
            raise InputError(f"task.group.block needs a number, {self.pattern!r} captures {captured!r}")
        return str((int(captured) - 1) // self.block)


@dataclass(frozen=True)
class KnownGroups(GroupRule):
    """A group rule for cases with other names than their own, or of folders with other rules."""

    known: Mapping[str, str] = field(default_factory=dict)
    """The group of each case, by its current name."""
    everyone: bool = False
    """Whether `known` also has the names that the user gives to cases, for rules that differ by folder."""

    def key(self, case_id: str) -> str:
        """Return the name of the group of a case."""
        return self.known[case_id] if case_id in self.known else self.captured(case_id)

    def captured(self, case_id: str) -> str:
        """Return the group of a name that the user gives to a case."""
        return self.known.get(case_id, case_id) if self.everyone else super().captured(case_id)


@dataclass(frozen=True)
class Task:
    """A data set's cases and names: one name per image channel and one per class (0 is background).

    Classes are 0, 1, 2, ...; label maps hold the value `label_values[i]` for class i. With `regions` (name:
    classes), which may overlap, a network learns each region separately; predictions and label files still
    hold one label per voxel. Voxels of the class `ignore` are unknown: they take no part in loss or scores.
    """

    name: str
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    cases: tuple[Case, ...]
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore: int | None = None
    folders: tuple[Path, ...] = ()
    reading: Reading = field(default_factory=Reading)
    values: tuple[int, ...] = ()
    """The value in label maps of each of `labels`, rising from 0; empty for 0, 1, 2, ..."""
    tubes: tuple[str, ...] = ()
    """Targets that are tubes, such as vessels, whose centre lines are scored as well."""
    test: tuple[Case, ...] = ()
    """Test cases: never used for training, planning or selection; scored once at the end."""

    def __post_init__(self) -> None:
        """Validate that names are distinct, and that `ignore` and `regions` refer to existing classes."""
        _refuse_same_names(self.labels, self.label_values, self.targets)
        if self.ignore is not None and self.ignore != len(self.labels) - 1:
            got, wanted = self.label_values[self.ignore], self.label_values[-1]
            raise InputError(f"task.ignore: got label value {got}, wanted the last, {wanted}")
        known = range(1, len(self.segmented))
        for name, values in self.regions.items():
            if not values or not set(values) <= set(known):
                raise InputError(f"task.regions: {name}: got classes {list(values)}, wanted {list(known)}")

    def check_distinguishable(self) -> None:
        """Check that each class can be recovered from the regions it is in.

        Raises:
            InputError: two classes are in the same regions, or a class is in none.
        """
        if self.regions:
            _refuse_alike(self.regions, range(1, len(self.segmented)))

    @property
    def label_values(self) -> tuple[int, ...]:
        """The values of classes 0, 1, 2, ... in predicted label maps; data files have `file_values`."""
        return self.values or tuple(range(len(self.labels)))

    @property
    def file_labels(self) -> FileLabels | None:
        """The labels in the files of the first case; None if they are the task's.

        All cases have the same, except those of several folders (`parts`).
        """
        return self.cases[0].file_labels if self.cases else None

    @property
    def parts(self) -> "tuple[Task, ...]":
        """The task with the cases of each of its folders alone; itself if all are of one folder."""
        numbers = sorted({case.part for case in self.cases})
        if len(numbers) < 2:
            return (self,)
        return tuple(
            replace(self, cases=tuple(case for case in self.cases if case.part == number), test=())
            for number in numbers
        )

    @property
    def file_values(self) -> dict[int, str]:
        """The label values allowed in the data set's files, each with its name."""
        files = self.file_labels
        names, values = (self.labels, self.label_values) if files is None else (files.names, files.values)
        return dict(zip(values, names, strict=True))

    def values_in_files(self, label: int, case: Case | None = None) -> tuple[int, ...]:
        """Return the label values that stand for a class in the files of a case, by default the first."""
        files = self.file_labels if case is None else case.file_labels
        return (self.label_values[label],) if files is None else files.values_of(label)

    @property
    def foreground(self) -> tuple[str, ...]:
        """Names of classes 1, 2, ... that can be predicted."""
        return self.segmented[1:]

    @property
    def segmented(self) -> tuple[str, ...]:
        """Names of the classes that can be predicted, background included."""
        return self.labels[: self.ignore]

    @property
    def targets(self) -> dict[str, tuple[int, ...]]:
        """The scored targets by name, each with its classes: the regions, or else each foreground class."""
        if self.regions:
            return dict(self.regions)
        return {name: (value,) for value, name in enumerate(self.foreground, start=1)}

    def targets_in(self, case: Case) -> dict[str, tuple[int, ...]]:
        """Return the targets that can be scored in a case: those whose classes its reference annotates."""
        return {name: values for name, values in self.targets.items() if case.annotates(values)}


def _refuse_same_names(labels: Sequence[str], values: Sequence[int], targets: Mapping[str, object]) -> None:
    """Refuse two labels of one name: scores are stored by name, so only one of them would be scored."""
    for index, name in enumerate(labels):
        if name in labels[:index]:
            raise InputError(
                f"labels: got the name {name!r} for the values {values[labels.index(name)]} and "
                f"{values[index]}; "
                "give each value a name of its own in dataset.json, or merge the values in the label maps"
            )
    if "mean" in targets:
        raise InputError(
            "labels: got the name 'mean', which columns of metrics.csv have; choose another name"
        )


def _refuse_alike(regions: Mapping[str, tuple[int, ...]], values: range) -> None:
    """Refuse two classes in exactly the same regions, and a class in none (background is in none)."""
    seen: dict[tuple[str, ...], int] = {(): 0}
    for value in values:
        member = tuple(name for name, inside in regions.items() if value in inside)
        if member in seen:
            shared = " and ".join(member) or "no region"
            raise InputError(
                f"task.regions: label values {seen[member]} and {value} are both in {shared} alone"
            )
        seen[member] = value
