"""Rules for faults of labels over all cases: one function per kind of fault.

Each yields pairs of a case id ("" for the data set as a whole) and a finding.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from app.core.listed import listed
from app.core.task import GroupRule, Task
from app.data.doctor.examine import Examined
from app.data.doctor.finding import SetFindings, note, warning

_HALF = 0.5  # voxels of the median grid; a smaller label vanishes on it


def absent_label(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report labels of dataset.json that no case has."""
    absent = [
        f"{value} ({name})"
        for n, value, name in _named(task)
        if not any(_has(one, n, task) for one in examined)
    ]
    if absent:
        what = f"label {absent[0]}" if len(absent) == 1 else f"{len(absent)} labels: {listed(absent)}"
        advice = "remove it from dataset.json, or add cases that show it"
        yield "", warning("absent_label", f"no case has {what}", advice)


def rare_label(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report labels of a single group of cases: a fold cannot both train on them and score them."""
    for n, value, name in _named(task):
        having = [one.case.id for one in examined if _has(one, n, task)]
        units = {group.key(case) if group else case for case in having}
        if len(units) == 1 and len(examined) > len(having):
            yield (
                having[0],
                warning(
                    "rare_label",
                    f"label {value} ({name}) is in {len(having)} of {len(examined)} cases, of one group",
                    "it is either trained or scored, never both; add cases that show it",
                ),
            )


def vanishing_label(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report labels so small that none is left after resampling to the median spacing."""
    for one, own_mm3, voxel_mm3 in _grids(examined):
        assert one.label
        for n, value, name in _named(task):
            count = sum(one.label.values.get(found, 0) for found in task.values_in_files(n, one.case))
            if 0 < count * own_mm3 < _HALF * voxel_mm3:
                yield (
                    one.case.id,
                    warning(
                        "vanishing_label",
                        f"label {value} ({name}) has {count} voxels, "
                        f"{count * own_mm3:.3g} mm3, under half a voxel of the median grid",
                        "it vanishes on that grid; run mode=plan and set a finer plan.spacing",
                    ),
                )


def vanishing_lesions(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report lesions so small that none is left after resampling, if others of the same case stay."""
    for n, value, name in _named(task):
        gone, all_ = dict[str, int](), 0
        for one, own_mm3, voxel_mm3 in _grids(examined):
            assert one.label
            made_of = task.values_in_files(n, one.case)
            places = [found - 1 for found in made_of if found <= len(one.label.lesions)]
            lesions = [one.label.lesions[place] for place in places]
            sizes = [own_mm3 * lesion.voxels for each in lesions for lesion in each.smallest]
            small = sum(size < _HALF * voxel_mm3 for size in sizes)
            all_ += sum(each.count for each in lesions)
            if 0 < small < len(sizes):
                gone[one.case.id] = small
        if gone:
            where = listed(f"{count} in {case}" for case, count in gone.items())
            yield (
                "",
                note(
                    "vanishing_lesions",
                    f"{sum(gone.values())} of {all_} lesions of label {value} ({name}) are under half a "
                    f"voxel of the median grid: {where}",
                    "they vanish on that grid; run mode=plan and set a finer plan.spacing",
                ),
            )


def _grids(examined: Sequence[Examined]) -> Iterator[tuple[Examined, float, float]]:
    """Yield the readable cases, each with the mm3 of its own voxels and of those of the median grid."""
    known = [(one, one.image.header.spacing) for one in examined if one.image and one.label]
    if known:
        median = float(np.prod(np.median([sorted(spacing) for _, spacing in known], axis=0)))
        yield from ((one, float(np.prod(spacing)), median) for one, spacing in known)


def _has(one: Examined, label: int, task: Task) -> bool:
    """Return whether the label map of a case has a label."""
    return one.label is not None and bool(set(task.values_in_files(label, one.case)) & set(one.label.values))


def _named(task: Task) -> Iterator[tuple[int, int, str]]:
    """Yield number, value and name of each label except background."""
    for n, (value, name) in enumerate(zip(task.label_values, task.labels, strict=True)):
        if n:
            yield n, value, name


SET_LABEL_RULES = (absent_label, rare_label, vanishing_label, vanishing_lesions)
