"""All metrics of a prediction, label by label, in the scan's own geometry."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.csv_file import six_digits, write_csv
from app.core.types import Spacing
from app.metrics.dice import Dice
from app.metrics.metric import Metric
from app.metrics.surface import HausdorffDistance95, NormalisedSurfaceDice
from app.metrics.target_masks import target_masks


@dataclass(frozen=True)
class Score:
    """One (case, label): values by metric name, None where undefined, and both volumes."""

    case: str
    label: str
    values: dict[str, float | None]
    volume_mm3: float
    reference_mm3: float


def standard_metrics(nsd_tolerance_mm: float) -> tuple[Metric, ...]:
    """Dice, HD95 and NSD."""
    return (Dice(), HausdorffDistance95(), NormalisedSurfaceDice(nsd_tolerance_mm))


def score_case(
    case: str,
    predicted: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    *,
    spacing: Spacing,
    voxel_mm3: float,
    targets: Mapping[str, tuple[int, ...]],
    metrics: Sequence[Metric],
    ignore: int | None = None,
) -> list[Score]:
    """Score label maps of one shape; `targets` are label values by name, `spacing` is per axis.

    Where the reference has the value `ignore`, nothing counts.
    """
    scores = []
    for name, masks in target_masks(predicted, reference, targets, ignore).items():
        values = {metric.name: metric(*masks, spacing) for metric in metrics}
        volumes = [float(mask.sum()) * voxel_mm3 for mask in masks]
        scores.append(Score(case, name, values, *volumes))
    return scores


def write_cases(path: Path, scores: Sequence[Score]) -> None:
    """Write cases.csv: one row per case and label; an empty cell is undefined."""
    rows = [
        {
            **{"case": score.case, "label": score.label},
            **{name: six_digits(value) for name, value in score.values.items()},
            **{"volume_mm3": score.volume_mm3, "reference_mm3": score.reference_mm3},
        }
        for score in scores
    ]
    write_csv(path, rows, header=("case", "label", "volume_mm3", "reference_mm3"))


def summarise_scores(scores: Sequence[Score]) -> dict[str, Any]:
    """`mean_dice` over labels, and for each metric the mean over cases of each label where it is defined."""
    labels = list(dict.fromkeys(score.label for score in scores))
    names = list(scores[0].values) if scores else []
    means = {
        name: {label: _mean(s.values[name] for s in scores if s.label == label) for label in labels}
        for name in names
    }
    return {"mean_dice": _mean(means.get("dice", {}).values()), **means}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
