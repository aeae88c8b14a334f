"""Milliseconds of runs: timings.csv in a folder above them, measured together on one machine."""

from dataclasses import dataclass
from pathlib import Path

from app.core.sweep import TIMINGS
from app.report.read.records import number, read_rows


@dataclass(frozen=True)
class RunTiming:
    """A forward pass over a patch and a training step over a batch; None where not measured."""

    forward_ms: float | None = None
    step_ms: float | None = None
    machine: str | None = None


def timing_of(run: Path) -> RunTiming:
    """From the nearest timings.csv at or above a run folder, which names runs by their path below it.

    Raises:
        InputError: that file is broken.
    """
    for folder in (run, *run.parents):
        if (folder / TIMINGS).is_file():
            return read_timings(folder).get(run.relative_to(folder).as_posix(), RunTiming())
    return RunTiming()


def read_timings(folder: Path) -> dict[str, RunTiming]:
    """Timings by the paths of run folders below `folder`; empty without the file.

    Raises:
        InputError: the file lacks a column, or a cell is not a number.
    """
    path = folder / TIMINGS
    rows = read_rows(path, columns=("run", "forward_ms", "step_ms", "machine")) or []
    return {
        row["run"]: RunTiming(
            number(row["forward_ms"], where=f"{path}: {row['run']}: forward_ms"),
            number(row["step_ms"], where=f"{path}: {row['run']}: step_ms"),
            row["machine"],
        )
        for row in rows
    }
