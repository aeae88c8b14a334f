"""The best of several runs, and a run's failures, worst, median and best case."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.metrics.score import Score
from app.report.read.runs import Run
from app.report.wording import mean

_MOST_FAILURES = 3
_FAILURES = ("missed", "false alarm")


@dataclass(frozen=True)
class Ranked:
    """A case, its mean Dice over the labels for which it is defined, and the reason to show it."""

    place: str
    case: str
    mean_dice: float | None
    dice: dict[str, float | None]
    failing: tuple[str, ...] = ()
    """Labels that are missed or are false alarms."""


def best_run(runs: Sequence[Run]) -> Run:
    """Return the run with the highest mean Dice; the first one with cases if no run has a mean."""
    return max(runs, key=lambda run: (_or_lowest(run.summary.mean_dice), run.scores is not None))


def notable_cases(run: Run) -> list[Ranked]:
    """Return cases with missed labels or false alarms, then the worst, median and best case, each once.

    Cases without a defined Dice are left out unless they are failures.
    """
    scores: dict[str, list[Score]] = {}
    for score in run.scores or ():
        scores.setdefault(score.case, []).append(score)
    means = {case: mean(score.dice for score in found) for case, found in scores.items()}
    order = sorted(scores, key=lambda case: (_or_lowest(means[case]), case))
    failures = {case: words for case in order if (words := _failure(scores[case]))}
    places = dict([*failures.items()][:_MOST_FAILURES])
    defined = [case for case in order if means[case] is not None]
    for place, at in _places(len(defined)):
        places.setdefault(defined[at], place)
    return [
        Ranked(
            place=place,
            case=case,
            mean_dice=means[case],
            dice={score.label: score.dice for score in scores[case]},
            failing=tuple(score.label for score in scores[case] if score.status in _FAILURES),
        )
        for case, place in places.items()
    ]


def _failure(scores: Sequence[Score]) -> str:
    """Return the missed labels and the false alarms of a case as text."""
    found = {
        words: [score.label for score in scores if score.status == status]
        for words, status in (("Missed", "missed"), ("False alarm", "false alarm"))
    }
    return "; ".join(f"{words}: {', '.join(labels)}" for words, labels in found.items() if labels)


def _places(count: int) -> list[tuple[str, int]]:
    if count == 0:
        return []
    if count == 1:
        return [("Only case", 0)]
    middle = [("Median", (count - 1) // 2)] if count > 2 else []
    return [("Worst", 0), *middle, ("Best", count - 1)]


def _or_lowest(value: float | None) -> float:
    return float("-inf") if value is None else value
