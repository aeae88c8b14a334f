"""How well a network's confidence foretells its Dice: rank correlation over the cases that runs held out.

python -m tests.benchmarks.confidence <run folder> [<run folder> ...] [--picture confidence.png] [--cases 20]
Every run segments its own held-out cases with the settings it was evaluated with; several runs, such as the
folds of one sweep, are pooled. The confidence is what mode=predict writes into its manifest: `soft_dice`, and
`agreement` where there are several passes or windows. A case counts for a label where the network names the
label somewhere and Dice is defined; over all labels, with its means over these. Spearman's rho is given with
its two-sided p.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from app.core.files import atomic_path
from app.core.progress import progress_bar
from app.core.task import Case
from app.data.prepare.parallel import spread
from app.data.sets.recorded import recorded_cases
from app.infer.scan.segmentation import Arrays
from app.infer.scan.segmenter import Segmenter
from app.io.references import read_reference_map
from app.io.volumes import read_volume
from app.metrics.overlap import dice_by_target
from tests.benchmarks.of_runs import parser

ALL = "all labels"
MEASURES = ("soft_dice", "agreement")


@dataclass(frozen=True)
class Point:
    """One case and label: Dice, and a confidence from 0 to 1 by the name of its measure."""

    case: str
    label: str
    dice: float
    confidence: dict[str, float]


def main() -> None:
    """Segment, correlate, print and draw."""
    asked = parser(__doc__)
    asked.add_argument("--picture", type=Path, default=Path("confidence.png"))
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    points = [point for run in options.runs for point in points_of_run(run, options.cases)]
    points += means_of_cases(points)
    table = Table("label", "confidence", "n", "rho", "p", "mean Dice", "mean confidence")
    for label in dict.fromkeys(point.label for point in points):
        for measure in MEASURES:
            pairs = pairs_of(points, label, measure)
            if pairs:
                table.add_row(
                    label, measure, str(len(pairs)), *_format_correlation(spearman(pairs)), *_means(pairs)
                )
    Console(width=100).print(table)
    draw(points, options.picture)
    print(f"drawn: {options.picture}")


def points_of_run(run: Path, count: int | None) -> list[Point]:
    """Every held-out case of a run and every label."""
    segmenter = Segmenter.load(run)
    cases = spread(recorded_cases(run, "validation"), count)
    points: list[Point] = []
    with progress_bar(run.name, len(cases)) as advance:
        for case in cases:
            points += _points_of_case(segmenter, case)
            advance(note=case.id)
    return points


def _points_of_case(segmenter: Segmenter, case: Case) -> Iterator[Point]:
    assert case.label is not None
    volume = read_volume(case.image)
    prepared = segmenter.prepare(volume)
    arrays = Arrays(np.zeros(prepared.geometry.scan, dtype=np.uint8))
    found = segmenter.segment(prepared, arrays)
    values = segmenter.values or range(len(segmenter.labels) + 1)
    reference = read_reference_map(case.label, segmenter.labels, values, volume)
    targets = {name: (value,) for value, name in enumerate(segmenter.labels) if value}
    scored = dice_by_target(arrays.labels, reference.voxels, targets, ignore=len(segmenter.labels))
    for name, dice in scored.items():
        told = {"soft_dice": found.soft_dice[name], "agreement": (found.agreement or {}).get(name)}
        known = {measure: value for measure, value in told.items() if value is not None}
        if dice is not None and known:
            yield Point(case.id, name, dice, known)


def means_of_cases(points: Sequence[Point]) -> list[Point]:
    """One point a case: means over its labels, of each measure that all of them have."""
    found = []
    for case in dict.fromkeys(point.case for point in points):
        labels = [point for point in points if point.case == case]
        shared = set.intersection(*(set(point.confidence) for point in labels))
        confidence = {name: fmean(point.confidence[name] for point in labels) for name in shared}
        found.append(Point(case, ALL, fmean(point.dice for point in labels), confidence))
    return found


def pairs_of(points: Sequence[Point], label: str, measure: str) -> list[tuple[float, float]]:
    """(confidence, Dice) of every case that has both."""
    return [
        (point.confidence[measure], point.dice)
        for point in points
        if point.label == label and measure in point.confidence
    ]


def spearman(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Rho and its two-sided p; None for less than three cases, or where all are the same."""
    if len(pairs) < 3 or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    result = spearmanr(*zip(*pairs, strict=True))
    return float(result.statistic), float(result.pvalue)


def _format_correlation(found: tuple[float, float] | None) -> tuple[str, str]:
    return ("undefined", "") if found is None else (f"{found[0]:.3f}", f"{found[1]:.2g}")


def _means(pairs: Sequence[tuple[float, float]]) -> tuple[str, str]:
    confidence, dice = zip(*pairs, strict=True)
    return f"{fmean(dice):.4f}", f"{fmean(confidence):.4f}"


def draw(points: Sequence[Point], path: Path) -> None:
    """Dice over confidence, a panel a measure and a colour a label."""
    labels = [label for label in dict.fromkeys(point.label for point in points) if label != ALL]
    measures = [name for name in MEASURES if any(name in point.confidence for point in points)]
    figure = Figure(figsize=(5 * len(measures), 4.5), layout="constrained")
    for axes, measure in zip(np.ravel(figure.subplots(1, len(measures))), measures, strict=True):
        for label in labels:
            pairs = pairs_of(points, label, measure)
            if pairs:
                axes.scatter(*zip(*pairs, strict=True), s=14, alpha=0.7, label=label)
        rho, _ = _format_correlation(spearman(pairs_of(points, ALL, measure)))
        axes.set(xlabel=measure, ylabel="Dice", title=f"over all labels: Spearman's rho {rho}")
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


if __name__ == "__main__":
    main()
