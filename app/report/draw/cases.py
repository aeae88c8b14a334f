"""Pictures of a run's failures and of its worst, median and best case."""

import shlex
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.report.draw import pictures
from app.report.read.ranking import Ranked, notable_cases
from app.report.read.runs import Run
from app.report.read.scans import NotDrawable, Scan, Voxels, read_scan


@dataclass(frozen=True)
class CaseView:
    """A case with its planes; the remark gives the reason if something is not drawn."""

    ranked: Ranked
    planes: list[pictures.Plane]
    remark: str = ""
    command: str = ""
    """The command that shows the case in the browser."""


def case_views(run: Run) -> list[CaseView]:
    """Draw the notable cases of a run."""
    return [
        replace(_view(run, ranked), command=view_command(run, ranked.case)) for ranked in notable_cases(run)
    ]


def view_command(run: Run, case: str) -> str:
    """Return the command that shows a case in the browser, for a shell in the current folder."""
    here = Path.cwd()
    folder = run.folder.relative_to(here) if run.folder.is_relative_to(here) else run.folder
    return shlex.join(["python", "run.py", "mode=view", f"view.run={folder}", f"view.case={case}"])


def _view(run: Run, ranked: Ranked) -> CaseView:
    outlined = list(run.label_values.values())
    try:
        scan = read_scan(run, ranked.case)
    except NotDrawable as error:
        return CaseView(ranked, [], f"Not drawn: {error}.")
    known = {0, run.ignored_value, *(value for values in outlined for value in values)}
    return CaseView(
        ranked, pictures.planes(scan, outlined, _looked_at(run, ranked, scan)), _nameless(scan, known)
    )


def _looked_at(run: Run, ranked: Ranked, scan: Scan) -> Voxels:
    """Return the voxels to look at, without ignored ones.

    They are those of failing labels, for the worst case all differences, else the reference's foreground.
    """
    judged = scan.reference != run.ignored_value
    if ranked.failing:
        values = [value for label in ranked.failing for value in run.label_values.get(label, ())]
        found = np.isin(scan.reference, values) | np.isin(scan.prediction, values)
    else:
        found = scan.reference != (scan.prediction if ranked.place == "Worst" else 0)
    looked_at: Voxels = found & judged
    return looked_at


def _nameless(scan: Scan, known: Container[float | None]) -> str:
    """Return a sentence that lists label values in the files without a name, and so without a contour."""
    found = np.union1d(np.unique(scan.reference), np.unique(scan.prediction))
    strange = [f"{value:g}" for value in found.tolist() if value not in known]
    return f"No contour is drawn for values that no label has: {', '.join(strange)}." if strange else ""
