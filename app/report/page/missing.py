"""Sentences about information that a page lacks."""

from collections.abc import Sequence
from pathlib import Path

from app.core import run_folder
from app.report.compare.groups import Comparison
from app.report.read.runs import RESULT_FILES, Run

_MEANING = {
    run_folder.SUMMARY: "the run is unfinished, so its totals are unknown",
    run_folder.METRICS: "there are no learning curves",
    run_folder.CASES: "the held-out fold has not been evaluated yet, so there are no scores per case",
    run_folder.ENVIRONMENT: "versions, processor and date are unknown",
    run_folder.SPLIT: "image and label files of the cases are unknown",
    run_folder.PLAN: "there are no planned values",
}


def without_file(runs: Sequence[Run], name: str) -> list[str]:
    """Return a sentence about the runs that lack the file `name`; nothing if all have it."""
    lacking = [run.name for run in runs if not (run.folder / name).is_file()]
    return [f"No {name} in {', '.join(lacking)}: {_MEANING[name]}."] if lacking else []


def without_scores(runs: Sequence[Run]) -> list[str]:
    """Return a sentence about the runs that are not evaluated; searches never are."""
    return without_file([run for run in runs if not run.summary.of_search], run_folder.CASES)


def kernels_absent(runs: Sequence[Run]) -> list[str]:
    """Return a sentence about the runs whose operator needs a layout that they lack."""
    lacking = [run.name for run in runs if run.summary.op == "cakes" and run.layout is None]
    where = ", ".join(lacking)
    return [f"No {run_folder.LAYOUT} in {where}: its kernels are unknown."] if lacking else []


def baseline_absent(found: Comparison | None) -> list[str]:
    """Return a sentence if there is no baseline to compare with."""
    if found is None or found.baseline_means:
        return []
    return [f"There are no differences, because the baseline {found.baseline} has no scores yet."]


def left_out(folders: Sequence[Path]) -> list[str]:
    """Return a sentence for each folder that looks like a run and has no results."""
    return [f"Left out: {folder} has no {' and no '.join(RESULT_FILES)}." for folder in folders]


def one_machine(runs: Sequence[Run]) -> list[str]:
    """Return a sentence if milliseconds come from several machines and cannot be compared."""
    machines = sorted({run.timing.machine for run in runs if run.timing.machine})
    return (
        [f"Times were measured on several machines ({', '.join(machines)}) and cannot be compared."]
        if len(machines) > 1
        else []
    )
