"""Which run is the best, and which of its cases are the worst, the median and the best."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.report.read.runs import Run
from app.report.wording import mean


@dataclass(frozen=True)
class Ranked:
    """A case, its mean Dice over the labels where it is defined, and its place among the others."""

    place: str
    case: str
    mean_dice: float
    dice: dict[str, float | None]


def best_run(runs: Sequence[Run]) -> Run:
    """The run with the highest mean Dice; the first one with cases where no run has a mean."""
    return max(runs, key=lambda run: (_or_lowest(run.summary.mean_dice), run.scores is not None))


def notable_cases(run: Run) -> list[Ranked]:
    """Worst, median and best case, each once; cases without any defined Dice are left out."""
    dice: dict[str, dict[str, float | None]] = {}
    for score in run.scores or ():
        dice.setdefault(score.case, {})[score.label] = score.dice
    means = {case: value for case, labels in dice.items() if (value := mean(labels.values())) is not None}
    order = sorted(means, key=lambda case: (means[case], case))
    return [Ranked(place, order[at], means[order[at]], dice[order[at]]) for place, at in _places(len(order))]


def _places(count: int) -> list[tuple[str, int]]:
    if count == 0:
        return []
    if count == 1:
        return [("Only case", 0)]
    middle = [("Median", (count - 1) // 2)] if count > 2 else []
    return [("Worst", 0), *middle, ("Best", count - 1)]


def _or_lowest(value: float | None) -> float:
    return float("-inf") if value is None else value
