"""Rules for faults of a label map: one function per kind of fault, with the name of that kind."""

import math
from collections.abc import Iterator

from app.core.listed import listed
from app.core.task import Task
from app.data.doctor.examine import LabelFacts
from app.data.doctor.finding import Finding, error, note, warning
from app.io.label_values import listed_values

ALMOST_WHOLE = 0.01  # floats this close to an integer are stored integers, not interpolated labels


def fractional_labels(label: LabelFacts, task: Task) -> Iterator[Finding]:
    """Report values that are NaN or lie between integers, as after interpolation."""
    odd = [value for value in label.values if not value.is_integer()]
    if odd:
        whole = all(math.isfinite(value) and abs(value - round(value)) <= ALMOST_WHOLE for value in odd)
        named = whole and _all_named(label, task)
        once = "" if named else " once dataset.json names all values"
        yield error(
            "fractional_labels",
            f"label has values that are not integers: {listed_values(odd)}",
            f"check.repair rounds them{once}"
            if whole
            else "export it again with nearest-neighbour resampling",
            repairable=named,
        )


def float_labels(label: LabelFacts, task: Task) -> Iterator[Finding]:
    """Report integers that are stored as floating-point numbers."""
    if label.header.dtype.kind == "f" and all(value.is_integer() for value in label.values):
        named = _all_named(label, task)
        yield note(
            "float_labels",
            f"label is stored as {label.header.dtype}",
            "nothing to do, it is read as integers" + "; check.repair stores it as integers" * named,
            repairable=named,
        )


def unknown_labels(label: LabelFacts, task: Task) -> Iterator[Finding]:
    """Report integers that dataset.json does not name."""
    whole = [value for value in label.values if value.is_integer()]
    unknown = [value for value in whole if value not in task.file_values]
    if unknown:
        voxels, named = sum(label.values[value] for value in unknown), listed_values(task.file_values)
        yield error(
            "unknown_labels",
            f"label has {voxels} voxels of {listed_values(unknown)}, dataset.json names {named}",
            "name the values in dataset.json, or change them in the label",
        )


def empty_label(label: LabelFacts, task: Task) -> Iterator[Finding]:
    """Report a label map that is all background."""
    if set(label.values) == {0.0}:
        yield warning(
            "empty_label",
            "label is all background",
            "this is right if the scan shows no label; otherwise outline it or remove the case from "
            "dataset.json",
        )


def full_label(label: LabelFacts, task: Task) -> Iterator[Finding]:
    """Report a label map without any background."""
    if 0.0 not in label.values:
        yield warning(
            "full_label",
            "label has no background",
            "is background stored as another value, or is the label inverted?",
        )


def label_outside(label: LabelFacts, task: Task) -> Iterator[Finding]:
    """Report labels outside the box of the scan's non-zero voxels, to which predictions crop the scan."""
    names = {value: name for n, name in enumerate(task.segmented) if n for value in task.values_in_files(n)}
    beyond = [f"{count} of {names[int(value)]}" for value, count in label.outside.items() if value in names]
    if beyond:
        yield warning(
            "label_outside",
            f"labelled voxels are outside the non-zero part of the scan: {listed(beyond)}",
            "was the scan masked or padded after it was labelled? Training "
            "uses these voxels, but a prediction is background outside that part",
        )


def _all_named(label: LabelFacts, task: Task) -> bool:
    """Return whether dataset.json names every value, after rounding."""
    return all(round(value) in task.file_values for value in label.values)


LABEL_RULES = (fractional_labels, float_labels, unknown_labels, empty_label, full_label, label_outside)
