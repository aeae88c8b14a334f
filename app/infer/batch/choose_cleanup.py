"""The choice of clean-up by cross-validation: held-out predictions of all folds, with and without each step.

A step is switched on for a label if its mean gain in Dice over the cases is above 0.0001 and above one
standard error of the gain, paired by case. Filling holes is scored after the decision on components, on top
of it.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from app.core import run_folder
from app.core.errors import InputError
from app.core.moved import UNMOVED, Moved
from app.core.progress import progress_bar
from app.core.task import Case
from app.core.types import Labels
from app.data.sets.recorded import recorded_cases
from app.infer.scan.cleanup import Cleanup, fill_holes, keep_largest
from app.io.references import read_reference_map
from app.io.volumes import read_label_map
from app.metrics.overlap import boxes_of, dice_by_target

VARIANTS: dict[str, tuple[Callable[[Labels, int], None], ...]] = {
    "as predicted": (),
    "largest component": (keep_largest,),
    "filled holes": (fill_holes,),
    "both": (keep_largest, fill_holes),
}
_LEAST_GAIN = 1e-4
DiceByVariant = dict[str, list[float]]
"""Dice of every case, by variant."""


def choose_cleanup(
    runs: Sequence[Path], labels: Sequence[str], values: Sequence[int], moved: Moved = UNMOVED
) -> tuple[Cleanup, dict[str, Any]]:
    """Return the clean-up to switch on, and the mean Dice by label and variant over all held-out cases.

    A label that no held-out case and no prediction has gets no mean Dice.

    Raises:
        InputError: the runs held out no case, or a held-out prediction is missing.
    """
    scores: dict[str, DiceByVariant] = {name: {variant: [] for variant in VARIANTS} for name in labels[1:]}
    listed = [(run, case) for run in runs for case in recorded_cases(run, "validation", moved)]
    if not listed:
        raise InputError(
            "cleanup.runs: these runs held out no case, which the choice of clean-up needs; choose it on "
            "runs of folds and copy their cleanup.json"
        )
    with progress_bar("Trying clean-up", len(listed)) as advance:
        for run, case in listed:
            _score(run, case, labels, values, scores)
            advance(note=case.id)
    largest, filled = [], []
    for name, found in scores.items():
        if _gains(found["as predicted"], found["largest component"]):
            largest.append(name)
        before, after = ("largest component", "both") if name in largest else ("as predicted", "filled holes")
        if _gains(found[before], found[after]):
            filled.append(name)
    evidence = {
        "cases": len(listed),
        "dice": {
            name: {variant: fmean(values) for variant, values in found.items() if values}
            for name, found in scores.items()
        },
    }
    return Cleanup(tuple(largest), tuple(filled)), evidence


def _score(
    run: Path, case: Case, labels: Sequence[str], values: Sequence[int], scores: dict[str, DiceByVariant]
) -> None:
    assert case.label is not None
    path = run_folder.prediction_path(run, case.id)
    if not path.is_file():
        raise InputError(
            f"{path}: no such prediction; clean-up is chosen on the held-out cases of whole runs"
        )
    predicted = read_label_map(path, values[: len(labels)])
    reference = read_reference_map(case.label, labels, values, predicted, case.file_labels)
    targets = {name: (value,) for value, name in enumerate(labels) if value}
    for name, box in boxes_of(predicted.voxels, reference.voxels, targets).items():
        if box is None:
            continue
        (value,) = targets[name]
        for variant, steps in VARIANTS.items():
            changed = predicted.voxels[box].copy()
            for step in steps:
                step(changed, value)
            dice = dice_by_target(changed, reference.voxels[box], {name: (value,)}, ignore=len(labels))[name]
            if dice is not None:
                scores[name][variant].append(dice)


def _gains(before: Sequence[float], after: Sequence[float]) -> bool:
    gains = [new - old for old, new in zip(before, after, strict=True)]
    if len(gains) < 2:
        return False
    return fmean(gains) > max(_LEAST_GAIN, stdev(gains) / math.sqrt(len(gains)))
