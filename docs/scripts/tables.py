"""Print the rows of the tables of docs/results.md from their files in docs/results.

python docs/scripts/tables.py docs/results/*.csv
"""

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

COLUMNS = ("group", "Dice", "difference", "runs", "parameters", "GMAC", "forward ms", "step ms", "steps")


def main() -> None:
    """Print one Markdown table per file whose runs have scores."""
    for path in sys.argv[1:]:
        if rows := table(Path(path)):
            print(f"\n{path}\n")
            for row in (COLUMNS, ("---",) * len(COLUMNS), *rows):
                print(f"| {' | '.join(row)} |")


def table(path: Path) -> list[tuple[str, ...]]:
    """Return one row per group of runs that have a score: its name, then the other columns.

    The difference is the mean over runs. Only single runs have its interval here, because the interval over
    several runs is computed from their cases, which are not in the file.
    """
    with path.open(newline="", encoding="utf-8") as file:
        runs = [run for run in csv.DictReader(file) if run.get("mean_dice")]
    groups = dict.fromkeys(run["group"] for run in runs)
    return [_row(group, [run for run in runs if run["group"] == group]) for group in groups]


def _row(group: str, runs: Sequence[dict[str, str]]) -> tuple[str, ...]:
    return (
        group,
        _dice(fmean(_numbers(runs, "mean_dice"))),
        _difference(runs),
        str(len(runs)),
        _range(runs, "params", lambda count: f"{count / 1e6:.2f}", " M"),
        _range(
            runs,
            "macs_per_patch",
            lambda count: f"{count / 1e9:.2f}" if count < 1e10 else f"{count / 1e9:.1f}",
        ),
        *(_range(runs, key, lambda number: f"{number:.0f}") for key in ("forward_ms", "step_ms", "steps")),
    )


def _difference(runs: Sequence[dict[str, str]]) -> str:
    found = _numbers(runs, "difference")
    if not found:
        return ""
    mean = _dice(fmean(found), sign="+")
    if len(runs) > 1:
        return mean
    low, high = (_dice(_numbers(runs, key)[0], sign="+") for key in ("difference_low", "difference_high"))
    return f"{mean} ({low} to {high})"


def _range(runs: Sequence[dict[str, str]], key: str, text: Callable[[float], str], unit: str = "") -> str:
    found = sorted(_numbers(runs, key))
    return "-".join(dict.fromkeys((text(found[0]), text(found[-1])))) + unit if found else ""


def _numbers(runs: Sequence[dict[str, str]], key: str) -> list[float]:
    return [float(run[key]) for run in runs if run.get(key)]


def _dice(value: float, sign: str = "") -> str:
    return format(value, f"{sign}.4f").replace("0.", ".", 1)


if __name__ == "__main__":
    main()
