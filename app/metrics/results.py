"""Files of scores: cases.csv, statistics.json and calibration.json, and the scores in summary.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.core import run_folder
from app.core.csv_file import read_csv
from app.core.errors import InputError
from app.core.files import write_json
from app.metrics.calibration import CaseSums, calibration
from app.metrics.score import Columns, Score, write_cases
from app.metrics.statistics import (
    Stratum,
    describe_all,
    labels_of,
    mean_dice,
    presence,
    size_strata,
    strata,
)

_MOST_STRATA = 12


def read_columns(path: Path) -> Columns:
    """Read the columns that divide cases into strata, from a CSV file with the column `case` and others.

    Raises:
        InputError: the file cannot be read, has a case twice or a row without one, has no other column, or a
            column has more than 12 values.
    """
    rows = [{name: cell.strip() for name, cell in row.items()} for row in read_csv(path, columns=("case",))]
    names = [row["case"] for row in rows]
    if "" in names:
        raise InputError(f"{path}: got a row without a name in the column case, wanted one in each row")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: got case {', '.join(twice[:5])} twice, wanted one row per case")
    columns = [name for name in (rows[0] if rows else {}) if name and name != "case"]
    if not columns:
        raise InputError(f"{path}: wanted a row per case and a column besides case, for example site")
    found = {name: {row["case"]: row[name] for row in rows if row[name]} for name in columns}
    for name, values in found.items():
        count = len(set(values.values()))
        if count > _MOST_STRATA:
            raise InputError(
                f"{path}: column {name}: got {count} values, wanted at most {_MOST_STRATA}; "
                "put numbers into classes"
            )
    return found


def write_scores(
    folder: Path, scores: Sequence[Score], columns: Columns, sums: Mapping[str, CaseSums] | None = None
) -> dict[str, Any]:
    """Write cases.csv, statistics.json and, given `sums`, calibration.json; return summary.json's figures."""
    write_cases(folder / run_folder.CASES, scores, columns)
    write_json(folder / run_folder.STATISTICS, statistics_of(scores, columns))
    groups = {score.case: score.unit for score in scores}
    found = calibration(sums, groups) if sums else {}
    if found:
        write_json(folder / run_folder.CALIBRATION, found)
    return {**summarise_scores(scores), **_calibration_figures(found)}


def _calibration_figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the calibration figures for summary.json, with the temperature fitted on all held-out cases."""
    if not found:
        return {}
    tempered = found["temperature"] or {}
    figures = {"ece": found["ece"], "brier": found["brier"], "temperature": tempered.get("fitted")}
    return {"calibration": {**figures, "ece_with_temperature": tempered.get("ece")}}


def summarise_scores(scores: Sequence[Score]) -> dict[str, Any]:
    """Return `mean_dice` over labels with its interval, and each metric's mean over cases by label.

    Also returns the numbers of missed labels, false alarms and, if known, reference voxels the network never
    saw.
    """
    mean, interval = mean_dice(scores)
    means = {
        name: {label: found.mean for label, found in by_label.items()}
        for name, by_label in describe_all(scores).items()
    }
    counts = {label: presence([s for s in scores if s.label == label]) for label in labels_of(scores)}
    outside = {score.case: 0 for score in scores if score.outside_region_voxels is not None}
    for score in scores:
        if score.outside_region_voxels is not None:
            outside[score.case] += score.outside_region_voxels
    return {
        "mean_dice": mean,
        "mean_dice_interval": interval and asdict(interval),
        **means,
        "missed": {label: len(count.missed) for label, count in counts.items()},
        "false_alarms": {label: len(count.false_alarms) for label, count in counts.items()},
        **({"outside_region_voxels": sum(outside.values())} if outside else {}),
    }


def statistics_of(scores: Sequence[Score], columns: Columns) -> dict[str, Any]:
    """Return the statistics over cases by label and metric, and those of strata, as plain values."""
    described = describe_all(scores)
    return {
        "labels": {
            label: {
                "presence": asdict(presence([score for score in scores if score.label == label])),
                "metrics": {
                    name: asdict(by_label[label]) for name, by_label in described.items() if label in by_label
                },
            }
            for label in labels_of(scores)
        },
        "strata": [_stratum_row(stratum) for stratum in all_strata(scores, columns)],
    }


def all_strata(scores: Sequence[Score], columns: Columns) -> list[Stratum]:
    """Return the statistics of every label for the values of each column, and for the label's size."""
    divided = [stratum for name, values in columns.items() for stratum in strata(scores, name, values)]
    return [*divided, *size_strata(scores)]


def _stratum_row(stratum: Stratum) -> dict[str, Any]:
    metrics = {name: asdict(found) for name, found in stratum.metrics.items() if found.n}
    return {"by": stratum.by, "value": stratum.value, "label": stratum.label, "metrics": metrics}
