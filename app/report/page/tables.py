"""The tables of the page: results of every run, comparison of groups, cost and plan."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.metrics.statistics import presence
from app.report.compare.groups import Comparison, Group
from app.report.read.runs import Run
from app.report.read.summary import Summary
from app.report.wording import (
    DASH,
    decimals,
    duration,
    mean,
    mean_of,
    plain_text,
    probability,
    scaled,
    signed,
    whole,
)

_TIMES = ("Forward (ms)", "Step (ms)")


@dataclass(frozen=True)
class Table:
    """A heading and rows of text; the first cell names the row, `wordy` columns hold prose."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    wordy: tuple[int, ...] = ()


def results(runs: Sequence[Run], labels: Sequence[str]) -> Table:
    """Return one row per run; HD95 and NSD are means over the labels for which they are defined."""
    scores = ("Mean Dice", *(f"Dice {label}" for label in labels), "HD95 (mm)", "NSD", "Missed")
    columns = ("Run", *scores, "Parameters", "MACs per patch", "Training, search")
    rows = [(run.name, *_scores(run, labels), *_costs(run.summary)) for run in runs]
    return Table("Results, one row per run", columns, rows)


def effort(runs: Sequence[Run]) -> Table:
    """Return how each run was made, one row per run: steps, memory, milliseconds if measured, choices."""
    timed = any(run.timing.machine for run in runs)
    figures = ("Steps", "Samples", "Peak RSS (MB)", *_TIMES * timed)
    columns = ("Run", *figures, "Model", "Operator", "Fold", "Seed")
    rows = [(run.name, *_figures(run, timed=timed), *_choices(run.summary)) for run in runs]
    words = (columns.index("Model"), columns.index("Operator"))
    return Table("Settings and effort, one row per run", columns, rows, wordy=words)


def _scores(run: Run, labels: Sequence[str]) -> tuple[str, ...]:
    of = run.summary
    return (
        decimals(of.mean_dice, 3),
        *(decimals(of.dice.get(label), 3) for label in labels),
        mean_of(of.hd95_mm.values(), 2),
        mean_of(of.nsd.values(), 3),
        missed(run),
    )


def missed(run: Run) -> str:
    """Return the number of missed labels out of all labels in the references, as text."""
    if run.scores is None:
        return DASH
    there = presence([score for score in run.scores if score.reference_mm3 > 0])
    return f"{len(there.missed)} of {there.cases}"


def _costs(of: Summary) -> tuple[str, ...]:
    return whole(of.params), scaled(of.macs_per_patch), duration(of.search_seconds or of.train_seconds)


def _figures(run: Run, *, timed: bool) -> tuple[str, ...]:
    of = run.summary
    times = _times([run]) if timed else ()
    return *(whole(figure) for figure in (of.steps, of.samples, of.peak_rss_mb)), *times


def _choices(of: Summary) -> tuple[str, ...]:
    return tuple(word or DASH for word in (of.model, of.op, of.fold, of.seed))


def _times(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the mean milliseconds as text, or dashes if not measured."""
    forward, step = (mean(getattr(run.timing, name) for run in runs) for name in ("forward_ms", "step_ms"))
    return decimals(forward, 1), decimals(step, 1)


def comparison(of: Comparison, labels: Sequence[str]) -> Table:
    """Return one row per group of runs: means over its runs and the paired difference to the baseline."""
    left = ("Group", "Runs", "Mean Dice", *(f"Dice {label}" for label in labels))
    paired = (f"Dice difference to {of.baseline}", "95 % interval", "p", "Paired cases (groups)")
    timed = any(run.timing.machine for group in of.groups for run in group.runs)
    columns = (*left, *paired, "Parameters", "MACs per patch", "Training, search", *_TIMES * timed)
    rows = [_group(group, labels) + _times(group.runs) * timed for group in of.groups]
    return Table("Groups of runs", columns, rows)


def _group(group: Group, labels: Sequence[str]) -> tuple[str, ...]:
    found = [run.summary for run in group.runs]
    less = group.difference
    paired = (
        (DASH, DASH, DASH, DASH)
        if less is None
        else (
            signed(less.mean),
            f"{signed(less.low)} to {signed(less.high)}",
            probability(less.p),
            f"{less.cases} ({less.groups})",
        )
    )
    return (
        group.name,
        str(len(found)),
        decimals(mean(of.mean_dice for of in found), 4),
        *(decimals(mean(of.dice.get(label) for of in found), 4) for label in labels),
        *paired,
        whole(mean(of.params for of in found)),
        scaled(mean(of.macs_per_patch for of in found)),
        duration(mean(of.search_seconds or of.train_seconds for of in found)),
    )


def cost(summary: Summary) -> Table:
    """Return the memory, multiply-adds and time of one run."""
    seconds, steps = summary.train_seconds, summary.steps
    a_step = None if seconds is None or not steps else 1000 * seconds / steps
    rows = [
        ("Parameters", whole(summary.params)),
        ("Patch (D, H, W)", plain_text(summary.patch) if summary.patch else DASH),
        ("MACs per patch", whole(summary.macs_per_patch)),
        ("Training time", duration(seconds)),
        ("Time per step (ms)", decimals(a_step, 1)),
        ("Peak RSS (MB)", whole(summary.peak_rss_mb)),
    ]
    return Table("Cost", ("Cost", "Value"), rows)


def plan(run: Run) -> Table | None:
    """Return the planned values and the reason for each."""
    if not run.plan:
        return None
    rows = [(name.replace("_", " "), *_choice(item)) for name, item in run.plan.items()]
    return Table("Plan", ("Planned", "Value", "Reason"), rows, wordy=(1, 2))


def _choice(item: object) -> tuple[str, str]:
    if isinstance(item, dict) and "value" in item:
        return plain_text(item["value"]), plain_text(item.get("reason"))
    return plain_text(item), DASH
