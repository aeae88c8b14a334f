"""Scores of single cases and labels, and cases.csv, the file that holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.core.csv_file import six_digits, write_csv

Columns = Mapping[str, Mapping[str, str]]
"""Columns that divide cases into strata: for each column name, the value of each case."""
STRATUM = "by_"
"""Prefix of these columns in cases.csv."""

Status = Literal["found", "missed", "absent", "false alarm"]
"""The status of a label in a case: in reference and prediction, only in the reference, in neither, or only in
the prediction."""


@dataclass(frozen=True)
class Score:
    """The score of one case and label: values by metric name, None if undefined, and both volumes."""

    case: str
    label: str
    values: Mapping[str, float | None]
    volume_mm3: float
    reference_mm3: float
    group: str | None = None
    """Group of the case (a patient); None if the case is a group by itself."""
    outside_region_voxels: int | None = None
    """Number of reference voxels outside the region that the network saw; None if unknown."""

    @property
    def status(self) -> Status:
        """The status of the label: found, missed, absent or false alarm."""
        if self.reference_mm3 > 0:
            return "found" if self.volume_mm3 > 0 else "missed"
        return "false alarm" if self.volume_mm3 > 0 else "absent"

    @property
    def dice(self) -> float | None:
        """The value of the Dice metric; None if undefined."""
        return self.values.get("dice")

    @property
    def unit(self) -> str:
        """The unit of statistical analysis: the group, or the case if it has none."""
        return self.case if self.group is None else self.group


def write_cases(path: Path, scores: Sequence[Score], columns: Columns) -> None:
    """Write cases.csv: one row per case and label; undefined values are empty cells."""
    write_csv(path, [_row(score, columns) for score in scores], header=("case", "label", "status"))


def _row(score: Score, columns: Columns) -> dict[str, object]:
    seen = score.outside_region_voxels
    return {
        **{"case": score.case, "label": score.label, "status": score.status},
        **{name: six_digits(value) for name, value in score.values.items()},
        **{"volume_mm3": score.volume_mm3, "reference_mm3": score.reference_mm3},
        **({} if score.group is None else {"group": score.group}),
        **({} if seen is None else {"outside_region_voxels": seen}),
        **{f"{STRATUM}{name}": values.get(score.case, "") for name, values in columns.items()},
    }
