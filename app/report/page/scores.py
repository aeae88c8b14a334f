"""Tables of one run's scores: results per label, their intervals, and failures."""

from collections.abc import Mapping, Sequence

from app.metrics.metric import METRICS, OF_TUBES, Metric
from app.metrics.results import all_strata
from app.metrics.score import Score
from app.metrics.statistics import BOOTSTRAP_FROM, Statistics, describe_all, labels_of, mean_dice, presence
from app.report.page.tables import Table
from app.report.read.runs import Run
from app.report.wording import DASH, interval_text, mean, measured, titled

_BY_NAME = {metric.name: metric for metric in METRICS}
_DICE = _BY_NAME["dice"]
_SHOWN = ("dice", "hd95_mm", "nsd", "lesion_f1")
"""Metrics of the tables that are always visible."""


def by_label(scores: Sequence[Score], labels: Sequence[str]) -> Table:
    """Return one row per label: the number of cases with it, missed and false ones, and its Dice."""
    described, rows = describe_all(scores), []
    for label in labels:
        found = described.get("dice", {}).get(label)
        there = presence([score for score in scores if score.label == label])
        if found is None:
            rows.append((label, *[DASH] * 9))
            continue
        rest = [described.get(name, {}).get(label) for name in ("hd95_mm", "nsd")]
        rows.append(
            (
                label,
                *(measured(_DICE, found.mean), interval_text(_DICE, found.interval)),
                *(measured(_DICE, found.median), measured(_DICE, found.worst)),
                *(_mean_text(name, of) for name, of in zip(("hd95_mm", "nsd"), rest, strict=True)),
                *(str(there.reference), str(len(there.missed)), str(len(there.false_alarms))),
            )
        )
    columns = ("Label", "Dice", "95 % interval", "Median", "Worst", "HD95 (mm)", "NSD")
    return Table("Scores per label", (*columns, "Cases with it", "Missed", "False alarms"), rows)


def every_metric(run: Run) -> Table:
    """Return one row per label and metric with all statistics."""
    described = describe_all(run.scores or ())
    rows = [
        (f"{label}: {titled(_BY_NAME[name])}", *_statistics(name, by_label[label]))
        for label in labels_of(run.scores or ())
        for name, by_label in described.items()
        if label in by_label and (by_label[label].n or name not in OF_TUBES)
    ]
    columns = (
        "Label: metric",
        "n",
        "Undefined",
        "Mean",
        "95 % interval",
        "SD",
        "Median",
        "Quartiles",
        "Worst",
    )
    return Table("Every metric", (*columns, "Worst case"), rows, wordy=(9,))


def by_stratum(run: Run) -> Table | None:
    """Return one row per label and stratum: by columns of the task's file, and by size of the label."""
    scores = run.scores or ()
    found = all_strata(scores, run.columns)
    if not found:
        return None
    columns = ("Label", "By", "Value", "Cases", "Dice", "95 % interval", *map(titled, _rest()))
    rows = [
        (
            one.label,
            *(one.by, one.value, str(one.metrics["dice"].n)),
            *(measured(_DICE, one.metrics["dice"].mean), interval_text(_DICE, one.metrics["dice"].interval)),
            *(_mean_text(metric.name, one.metrics[metric.name]) for metric in _rest()),
        )
        for one in found
    ]
    return Table("Scores by stratum", columns, rows, wordy=(1, 2))


def by_case(run: Run) -> Table:
    """Return one row per case and label, worst cases first."""
    scores = run.scores or ()
    dice: dict[str, list[float | None]] = {}
    for score in scores:
        dice.setdefault(score.case, []).append(score.dice)
    means = {case: mean(values) for case, values in dice.items()}
    ordered = sorted(scores, key=lambda score: (_last_if_none(means[score.case]), score.case))
    rows = [
        (
            *(score.case, score.label, score.status),
            *(measured(_BY_NAME[name], score.values.get(name)) for name in _SHOWN),
            *(f"{volume / 1000:.3g}" for volume in (score.volume_mm3, score.reference_mm3)),
        )
        for score in ordered
    ]
    titles = (titled(_BY_NAME[name]) for name in _SHOWN)
    columns = ("Case", "Label", "Status", *titles, "Predicted (ml)", "Reference (ml)")
    return Table("Every held-out case", columns, rows, wordy=(1, 2))


def calibrated(run: Run) -> Table | None:
    """Return the calibration of probabilities, one row without and one with temperature."""
    found = run.calibration
    if not found:
        return None
    tempered = found.get("temperature")
    rows = [("As trained", "1", *_trust(found))]
    if tempered:
        rows.append(("With temperature", f"{tempered['fitted']:.2f}", *_trust(tempered)))
    columns = ("Probabilities", "Temperature", "ECE", "Brier score", "Log-likelihood (negative)")
    return Table("Calibration", columns, rows)


def _trust(found: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(f"{found[name]:.3f}" for name in ("ece", "brier", "nll"))


def mean_text(run: Run) -> str:
    """Return a phrase with the interval of the mean Dice over labels; empty if it has none."""
    _, found = mean_dice(run.scores or ())
    return "" if found is None else f"95 % interval {found.low:.3f} to {found.high:.3f}"


def method_note(run: Run) -> str:
    """Return a sentence about how the page's intervals are computed; empty if it has none."""
    described = describe_all(run.scores or ()).values()
    found = [one.interval for by_label in described for one in by_label.values() if one.interval]
    _, of_mean = mean_dice(run.scores or ())
    counts: dict[str, set[int]] = {}
    for interval in (*found, *([of_mean] if of_mean else ())):
        counts.setdefault(interval.method, set()).add(interval.groups)
    parts = [f"{_METHODS[method]} over {_span(groups)} groups" for method, groups in sorted(counts.items())]
    if not parts:
        return ""
    why = f"; Student's t is used below {BOOTSTRAP_FROM} groups" if "t" in counts else ""
    return f"Intervals of means are {' and '.join(parts)} (patients, or single cases){why}."


_METHODS = {"bootstrap": "percentiles of a bootstrap", "t": "Student's t"}


def _span(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _rest() -> list[Metric]:
    return [_BY_NAME[name] for name in _SHOWN if name != "dice"]


def _mean_text(name: str, found: Statistics | None) -> str:
    return DASH if found is None else measured(_BY_NAME[name], found.mean)


def _statistics(name: str, found: Statistics) -> tuple[str, ...]:
    metric = _BY_NAME[name]
    quartiles = f"{measured(metric, found.lower_quartile)} to {measured(metric, found.upper_quartile)}"
    return (
        *(str(found.n), str(found.undefined), measured(metric, found.mean)),
        *(interval_text(metric, found.interval), measured(metric, found.sd).removeprefix("+")),
        *(measured(metric, found.median), quartiles if found.n else DASH),
        *(measured(metric, found.worst), found.worst_case or DASH),
    )


def _last_if_none(value: float | None) -> float:
    return float("inf") if value is None else value
