"""Times of runs in milliseconds, from a timings.csv above them, measured together on one machine."""

from dataclasses import dataclass
from pathlib import Path

from app.core.sweep import TIMINGS
from app.report.read.records import number, read_rows


@dataclass(frozen=True)
class RunTiming:
    """The time of a forward pass over a patch and of a training step over a batch; None if not measured."""

    forward_ms: float | None = None
    step_ms: float | None = None
    machine: str | None = None


def timing_of(run: Path) -> RunTiming:
    """Return a run's times from the nearest timings.csv at or above it, which names runs by relative path.

    Raises:
        InputError: that file is broken.
    """
    for folder in (run, *run.parents):
        if (folder / TIMINGS).is_file():
            return read_timings(folder).get(run.relative_to(folder).as_posix(), RunTiming())
    return RunTiming()


def read_timings(folder: Path) -> dict[str, RunTiming]:
    """Return timings by the paths of run folders below `folder`; empty without the file.

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
