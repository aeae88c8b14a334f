"""Compare networks case by case with one of them, from a table of their Dice scores.

    python -m tests.benchmarks.by_case docs/results/cases_hippocampus.csv
    python -m tests.benchmarks.by_case docs/results/cases_hippocampus.csv --add mine=runs/hippocampus

The table has the columns network, case, label and dice. `--add` writes the held-out cases of a finished run
into it under a name. The command prints the mean Dice of each network on its cases, that of `--base` on the
same cases, and the difference with its 95 % interval. The unit of the intervals is a group of cases, here a
head: the number at the end of a name counts sides, two per head.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from app.api import RunFolder
from app.core.csv_file import read_csv, write_csv
from app.core.task import GroupRule
from app.metrics.statistics import interval_of_mean

COLUMNS = ("network", "case", "label", "dice")
PATTERN = r"(\d+)$"

Row = dict[str, str]
Scores = dict[str, dict[str, float]]
"""Mean Dice over labels, by network and case."""


def main() -> None:
    """Add runs if any are given, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--base", default="nnU-Net")
    parser.add_argument("--add", nargs="*", default=[], metavar="NAME=RUN")
    parser.add_argument("--pattern", default=PATTERN, help="what names a group in the name of a case")
    parser.add_argument("--block", type=int, default=2, help="successive numbers that are one group")
    asked = parser.parse_args()
    rows = read_csv(asked.table, columns=COLUMNS)
    for words in asked.add:
        name, _, folder = words.partition("=")
        rows = [row for row in rows if row["network"] != name] + rows_of(name, Path(folder))
    if asked.add:
        write_csv(asked.table, rows)
    print(table(rows, asked.base, GroupRule(asked.pattern, asked.block)))


def rows_of(name: str, folder: Path) -> list[Row]:
    """Return one row per held-out case and label of a finished run."""
    return [
        {"network": name, **{column: row[column] for column in COLUMNS[1:]}}
        for row in RunFolder(folder).cases
        if row["dice"]
    ]


def table(rows: Sequence[Row], base: str, groups: GroupRule) -> str:
    """Return a Markdown table: one row per network except the base."""
    scores = by_network(rows)
    lines = [f"| network | cases | mean Dice | {base} on these cases | difference |", "|---|---|---|---|---|"]
    for name, own in scores.items():
        shared = sorted(own.keys() & scores[base].keys())
        if name == base or not shared:
            continue
        theirs = [scores[base][case] for case in shared]
        differences = [(groups.key(case), own[case] - scores[base][case]) for case in shared]
        mean, interval = fmean(value for _, value in differences), interval_of_mean(differences, -1, 1)
        spread = "" if interval is None else f" ({interval.low:+.4f} to {interval.high:+.4f})"
        ours = fmean(own[case] for case in shared)
        cells = (name, str(len(shared)), f"{ours:.4f}", f"{fmean(theirs):.4f}", f"{mean:+.4f}{spread}")
        lines.append(f"| {' | '.join(cells)} |".replace("0.", "."))
    return "\n".join(lines)


def by_network(rows: Sequence[Row]) -> Scores:
    """Return the mean Dice over the labels of each case."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["network"]][row["case"]].append(float(row["dice"]))
    return {name: {case: fmean(values) for case, values in cases.items()} for name, cases in found.items()}


if __name__ == "__main__":
    main()
