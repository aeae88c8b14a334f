"""Rank correlations of judges with trained layouts, and the ceiling that the noise of seeds sets."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

import numpy as np
from rich.table import Table
from scipy.stats import rankdata, spearmanr

Row = Mapping[str, str]
TRAINED = "trained"
"""What rows of trainings have in the column `judge`."""
_OUTCOMES = (("loss", 1.0), ("dice", -1.0))
"""By which trained layouts are ranked, and the sign that makes less better."""
_RESAMPLED = 2000


def ranking_table(rows: Sequence[Row]) -> Table:
    """Return one row per judge: how its order agrees with that of trained layouts, and what it costs."""
    columns = (
        "judge",
        "Spearman with loss",
        "Spearman with Dice",
        "95 % interval (Dice)",
        "core seconds",
        "share",
    )
    table = Table(*columns, title=heading(rows))
    whole = sum(float(row["seconds"]) for row in rows if row["judge"] == TRAINED)
    outcomes = {name: sign * means(rows, TRAINED, name) for name, sign in _OUTCOMES}
    for judge in dict.fromkeys(row["judge"] for row in rows if row["judge"] != TRAINED):
        scores = means(rows, judge, "loss")
        if len(scores) == len(outcomes["loss"]):
            seconds = sum(float(row["seconds"]) for row in rows if row["judge"] == judge)
            table.add_row(judge, *agreement(scores, outcomes), f"{seconds:.0f}", f"{seconds / whole:.1%}")
    for cost in ("macs", "params"):
        table.add_row(f"{cost} alone", *agreement(means(rows, TRAINED, cost), outcomes), "0", "")
    between = {name: between_seeds(rows, name) for name, _ in _OUTCOMES}
    for title, value in (
        ("between two seeds", lambda r: r),
        ("ceiling: mean over seeds, Spearman-Brown", lambda r: corrected(r, count_seeds(rows))),
        ("its root: a judge without noise", lambda r: corrected(r, count_seeds(rows)) ** 0.5),
    ):
        told = ["undefined" if r is None else f"{value(r):+.2f}" for r in between.values()]
        table.add_row(title, *told, "", "", "")
    table.add_row("training all layouts", "", "", "", f"{whole:.0f}", "100.0%")
    return table


def heading(rows: Sequence[Row]) -> str:
    """Return how many layouts were trained, how alike they cost and how far apart they are."""
    dice, macs, params = (means(rows, TRAINED, name) for name in ("dice", "macs", "params"))
    alike = max(float(cost.max() / cost.min()) - 1 for cost in (macs, params))
    noise = (
        np.sqrt(fmean(np.var(of, ddof=1) for of in by_layout(rows, "dice"))) if count_seeds(rows) > 1 else 0.0
    )
    spread = np.std(dice, ddof=1) if len(dice) > 1 else 0.0
    return (
        f"{len(dice)} layouts, {count_seeds(rows)} seeds; costs agree within {alike:.1%}; "
        f"Dice {dice.mean():.4f}, standard deviation {spread:.4f} between layouts, {noise:.4f} between seeds"
    )


def agreement(scores: np.ndarray, outcomes: Mapping[str, np.ndarray]) -> tuple[str, str, str]:
    """Return Spearman's correlation with loss and with Dice, and the interval of the latter over layouts."""
    loss, dice = (spearman(scores, outcomes[name]) for name, _ in _OUTCOMES)
    drawn = np.random.default_rng(0).integers(0, len(scores), (_RESAMPLED, len(scores)))
    ranks = [rankdata(values[drawn], axis=1) for values in (scores, outcomes["dice"])]
    first, second = (of - of.mean(axis=1, keepdims=True) for of in ranks)
    norms = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    known = (first * second).sum(axis=1)[norms > 0] / norms[norms > 0]
    interval = "{:+.2f} to {:+.2f}".format(*np.quantile(known, (0.025, 0.975))) if known.size else ""
    return _format_value(loss), _format_value(dice), interval


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the rank correlation; None for fewer than three values, or if all are the same."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)


def between_seeds(rows: Sequence[Row], name: str) -> float | None:
    """Return the mean rank correlation between two seeds of all layouts; None if there is none."""
    values = np.array(by_layout(rows, name))
    found = [spearman(values[:, a], values[:, b]) for a, b in combinations(range(values.shape[1]), 2)]
    known = [r for r in found if r is not None]
    return fmean(known) if known else None


def corrected(correlation: float, count: int) -> float:
    """Return the reliability of a mean of `count` values from that of one (Spearman, Brown, 1910).

    Zero if single values do not agree.
    """
    return 0.0 if correlation <= 0 else count * correlation / (1 + (count - 1) * correlation)


def means(rows: Sequence[Row], judge: str, name: str) -> np.ndarray:
    """Return the mean over seeds for each layout, in order."""
    return np.array([fmean(of) for of in by_layout(rows, name, judge)])


def by_layout(rows: Sequence[Row], name: str, judge: str = TRAINED) -> list[list[float]]:
    """Return the values of a column for each layout that has all seeds, in the order of layouts and seeds."""
    mine = [row for row in rows if row["judge"] == judge]
    seeds = {row["seed"] for row in mine}
    found: dict[int, dict[str, float]] = {}
    for row in mine:
        found.setdefault(int(row["layout"]), {})[row["seed"]] = float(row[name])
    whole = [found[layout] for layout in sorted(found) if len(found[layout]) == len(seeds)]
    return [[of[seed] for seed in sorted(of)] for of in whole]


def count_seeds(rows: Sequence[Row]) -> int:
    """Return how many seeds each layout was trained with."""
    return len({row["seed"] for row in rows if row["judge"] == TRAINED})


def _format_value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.2f}"
