"""The worst, median and best case of a run, drawn; what cannot be drawn says why."""

from dataclasses import dataclass

import numpy as np

from app.report import pictures
from app.report.ranking import Ranked, notable_cases
from app.report.runs import Run
from app.report.scans import NotDrawable, Scan, read_scan


@dataclass(frozen=True)
class CaseView:
    """A case with its planes; the remark says why there are none, or what they do not show."""

    ranked: Ranked
    planes: list[pictures.Plane]
    remark: str = ""


def case_views(run: Run) -> list[CaseView]:
    """Draw the notable cases of a run."""
    return [_view(run, ranked) for ranked in notable_cases(run)]


def label_values(run: Run) -> dict[str, int]:
    """Label names and their values in label files: as summary.json says, else 1, 2, ... in its order."""
    return run.summary.label_values or {name: value for value, name in enumerate(run.labels(), start=1)}


def _view(run: Run, ranked: Ranked) -> CaseView:
    values = list(label_values(run).values())
    try:
        scan = read_scan(run, ranked.case)
    except NotDrawable as error:
        return CaseView(ranked, [], f"Not drawn: {error}.")
    return CaseView(ranked, pictures.planes(scan, values), _nameless(scan, values))


def _nameless(scan: Scan, known: list[int]) -> str:
    """Say which values of the label files have no name, and so no contour."""
    found = np.union1d(np.unique(scan.reference), np.unique(scan.prediction))
    strange = [f"{value:g}" for value in found.tolist() if value not in (0, *known)]
    return f"Without contour, as no label has these values: {', '.join(strange)}." if strange else ""
