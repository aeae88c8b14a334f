"""The score of one label of one case, and cases.csv, which holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.core.csv_file import six_digits, write_csv

Columns = Mapping[str, Mapping[str, str]]
"""What cases are divided by: values by case, by the name of the column."""
STRATUM = "by_"
"""What the names of such columns begin with in cases.csv."""

Status = Literal["found", "missed", "absent", "false alarm"]
"""What there is of a label: reference and prediction, reference alone, neither, prediction alone."""


@dataclass(frozen=True)
class Score:
    """One (case, label): values by metric name, None where undefined, and both volumes."""

    case: str
    label: str
    values: Mapping[str, float | None]
    volume_mm3: float
    reference_mm3: float
    group: str | None = None
    """What the case belongs to (a patient); None: it stands for itself."""
    outside_region_voxels: int | None = None
    """Voxels of the reference that the network never saw; None if that is unknown."""

    @property
    def status(self) -> Status:
        """Whether the label is found, missed, absent or a false alarm."""
        if self.reference_mm3 > 0:
            return "found" if self.volume_mm3 > 0 else "missed"
        return "false alarm" if self.volume_mm3 > 0 else "absent"

    @property
    def dice(self) -> float | None:
        """The Dice, which more than tables look at."""
        return self.values.get("dice")

    @property
    def unit(self) -> str:
        """The unit of analysis: the group, or the case by itself."""
        return self.case if self.group is None else self.group


def write_cases(path: Path, scores: Sequence[Score], columns: Columns) -> None:
    """Write cases.csv: one row per case and label; an empty cell is undefined."""
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
