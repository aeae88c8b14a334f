"""The Dice of a segmenter on labelled cases, to compare engines or settings."""

from collections.abc import Iterable
from statistics import fmean

from app.core.errors import InputError
from app.core.progress import progress_bar
from app.core.task import Case
from app.infer.scan.segmenter import Segmenter
from app.io.references import read_reference_map
from app.io.volumes import read_volume
from app.metrics.overlap import dice_by_target

CaseDice = dict[str, dict[str, float | None]]
"""Dice by case id, then by label name."""


def dice_of_cases(segmenter: Segmenter, cases: Iterable[Case]) -> CaseDice:
    """Return the Dice of every foreground label of every case, in the scan's own geometry."""
    listed = list(cases)
    targets = {name: (value,) for value, name in enumerate(segmenter.labels) if value}
    found: CaseDice = {}
    beyond = len(segmenter.labels)
    values = segmenter.values or range(beyond + 1)
    with progress_bar("Scoring", len(listed)) as advance:
        for case in listed:
            assert case.label is not None
            volume = read_volume(case.image, segmenter.reading)
            reference = read_reference_map(case.label, segmenter.labels, values, volume, case.file_labels)
            found[case.id] = dice_by_target(
                segmenter.classes(volume), reference.voxels, targets, ignore=beyond
            )
            advance(note=case.id)
    return found


def mean_over_labels(found: CaseDice) -> float:
    """Return the mean over labels of each label's mean over cases.

    Raises:
        InputError: the mean is undefined, because neither references nor predictions have any label.
    """
    means = []
    for name in next(iter(found.values()), ()):
        known = [value for case in found.values() if (value := case[name]) is not None]
        if known:
            means.append(fmean(known))
    if not means:
        raise InputError(f"Dice is undefined: none of {len(found)} cases has a label, predicted or not")
    return fmean(means)
