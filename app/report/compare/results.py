"""The file results.csv: one row per run with every figure of a sweep's tables and charts."""

from collections.abc import Sequence
from pathlib import Path

from app.core.csv_file import six_digits, write_csv
from app.core.sweep import JobRecord, Sweep, SweepJob, read_record
from app.report.compare.groups import Comparison, compare
from app.report.read.runs import Run, has_results, read_runs
from app.report.read.timings import RunTiming

Cells = dict[str, object]


def write_results(folder: Path, sweep: Sweep, output: Path) -> Comparison | None:
    """Write one row per job of a sweep, finished or not; return the comparison of its groups.

    Raises:
        InputError: a file of a run is broken, or the baseline is not one of the sweep's groups.
    """
    runs = sweep_runs(folder, sweep)
    comparison = compare(runs, sweep)
    labels = list(dict.fromkeys(label for run in runs for label in run.labels()))
    by_name = {run.folder.name: run for run in runs}
    rows = []
    for entry in sweep.entries:
        run, record = by_name.get(entry.name), read_record(folder / entry.name)
        rows.append(
            _job(entry, record) | (_figures(run, labels) | _difference(run, comparison) if run else {})
        )
    write_csv(output, [figure_texts(row) for row in rows])
    return comparison


def sweep_runs(folder: Path, sweep: Sweep) -> list[Run]:
    """Return the runs of a sweep that have results, in its order."""
    folders = [folder / entry.name for entry in sweep.entries]
    found = [path.resolve() for path in folders if has_results(path)]
    return read_runs(found) if found else []


def _job(entry: SweepJob, record: JobRecord | None) -> Cells:
    return {
        "run": entry.name,
        "group": entry.group,
        "state": record.state if record else "waiting",
        "error": record.error if record else None,
        "overrides": " ".join(entry.overrides),
    }


def _figures(run: Run, labels: Sequence[str]) -> Cells:
    of = run.summary
    words = ("task", "fold", "seed", "model", "op")
    figures = ("params", "macs_per_patch", "steps", "train_seconds", "search_seconds", "mean_dice")
    scores = ("dice", "hd95_mm", "nsd")
    return {
        **{name: getattr(of, name) for name in (*words, *figures)},
        **{f"{name}_{label}": getattr(of, name).get(label) for name in scores for label in labels},
        **(_times(run.timing) if run.timing.machine else {}),
    }


def _times(of: RunTiming) -> Cells:
    return {"forward_ms": of.forward_ms, "step_ms": of.step_ms}


def _difference(run: Run, comparison: Comparison | None) -> Cells:
    if comparison is None:
        return {}
    found = comparison.of_run(run)
    return {
        "baseline": comparison.baseline,
        "difference": found and found.mean,
        "difference_low": found and found.low,
        "difference_high": found and found.high,
        "paired_cases": found and found.cases,
    }


def figure_texts(row: Cells) -> Cells:
    """Return the cells of a row as text: whole numbers in full, others with six significant digits."""
    return {name: _text(value) if isinstance(value, float) else value for name, value in row.items()}


def _text(value: float) -> str | None:
    return str(int(value)) if value.is_integer() else six_digits(value)
