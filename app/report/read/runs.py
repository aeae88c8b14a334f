"""Run folders: finding and reading them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.core import run_folder
from app.core.errors import InputError
from app.core.moved import UNMOVED, Moved, listed_paths
from app.metrics.metric import METRICS, OF_PREDICTION
from app.metrics.score import STRATUM, Columns, Score
from app.report.read.records import CsvRow, Mapping, number, read_mapping, read_rows
from app.report.read.summary import Summary, read_summary
from app.report.read.timings import RunTiming, timing_of

MARKS = (run_folder.CONFIG, run_folder.SUMMARY)
RESULT_FILES = (run_folder.SUMMARY, run_folder.METRICS)
_VALIDATION = "val_dice_"


@dataclass(frozen=True)
class Run:
    """A run folder that has been read; fields of missing files are None."""

    folder: Path
    name: str
    config: Mapping | None
    summary: Summary
    environment: Mapping | None
    metrics: dict[str, list[float | None]] | None
    scores: tuple[Score, ...] | None
    split: Mapping | None
    plan: Mapping | None
    layout: Mapping | None
    timing: RunTiming
    columns: Columns = field(default_factory=dict)
    """Columns by which its cases are grouped into strata."""
    fingerprint: Mapping | None = None
    calibration: Mapping | None = None

    @property
    def scan_warnings(self) -> tuple[str, ...]:
        """Warnings about the scans of the data set, one line per kind."""
        found = self.fingerprint or {}
        lines: Sequence[str] = found.get("warnings") or found.get("doubts") or ()  # `doubts` in older runs
        return tuple(lines)

    @property
    def data_set(self) -> str | None:
        """The name of the data set's folder, or the task's name without a configuration."""
        folders = listed_paths(self._task.get("folder"))
        return "+".join(folder.name for folder in folders) or self.summary.task

    @property
    def label_values(self) -> dict[str, tuple[int, ...]]:
        """The scored targets (regions, or labels 1, 2, ...), each with its values in label files."""
        regions = (self.split or {}).get("regions") or self._task.get("regions")
        if regions:
            return {str(name): tuple(values) for name, values in regions.items()}
        values = self._recorded_values or range(1, 1 + len(self.labels()))
        return {name: (value,) for value, name in zip(values, self.labels(), strict=False)}

    @property
    def ignored_value(self) -> int | None:
        """The value of ignored voxels in label files, the last one; None if nothing is ignored."""
        recorded = (self.split or {}).get("ignored_value")
        if recorded is not None:
            return int(recorded)
        if self._task.get("ignore") is None:
            return None
        if self._recorded_values:
            return self._recorded_values[-1]
        return 1 + max((value for values in self.label_values.values() for value in values), default=0)

    def predicted_values(self, count: int) -> list[int]:
        """Return the values of classes 0, 1, 2, ... in the run's label maps, the ignored one last."""
        return [0, *(self._recorded_values or range(1, count))]

    @property
    def _recorded_values(self) -> list[int]:
        """Label values without 0, the ignored one last, of a task whose values have gaps; else empty."""
        return list((self.split or {}).get("label_values", ()))[1:]

    @property
    def _task(self) -> Mapping:
        task = (self.config or {}).get("task")
        return task if isinstance(task, dict) else {}

    def labels(self) -> list[str]:
        """Return the names of the labels without background, in the order of their values."""
        if self.summary.dice:
            return list(self.summary.dice)
        validated = [name.removeprefix(_VALIDATION) for name in self.metrics or {} if _VALIDATION in name]
        scored = [score.label for score in self.scores or ()]
        return list(dict.fromkeys(name for name in [*validated, *scored] if name != "mean"))


def find_runs(folder: Path) -> list[Path]:
    """Return the folders at or below `folder` with a config.yaml or a summary.json, sorted.

    Hidden folders are left out.
    """
    found = []
    for here, inside, files in os.walk(folder):
        inside[:] = [name for name in inside if not name.startswith(".")]
        if any(mark in files for mark in MARKS):
            found.append(Path(here))
    return sorted(found)


def read_metrics(path: Path) -> dict[str, list[float | None]] | None:
    """Return the learning curves of metrics.csv by column; None if the file does not exist.

    Raises:
        InputError: a cell is not a number.
    """
    rows = read_rows(path, columns=("step",))
    if rows is None:
        return None
    names = [name for name in rows[0] if name] if rows else []
    return {name: [_cell(path, index, row, name) for index, row in enumerate(rows)] for name in names}


def has_results(folder: Path) -> bool:
    """Return whether a folder is a run with results."""
    return any((folder / name).is_file() for name in RESULT_FILES)


def with_results(folders: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Divide folders and the run folders below them into those with results and those without.

    Raises:
        InputError: a folder has no results, neither in itself nor below.
    """
    full: dict[Path, None] = {}
    empty: dict[Path, None] = {}
    for folder in folders:
        inside = [folder] if has_results(folder) else find_runs(folder)
        found = [run for run in inside if has_results(run)]
        if not found:
            raise InputError(f"{folder}: no run here or below; looked for {' and '.join(RESULT_FILES)}")
        full.update(dict.fromkeys(run.resolve() for run in found))
        empty.update(dict.fromkeys(run.resolve() for run in inside if not has_results(run)))
    return list(full), list(empty)


def read_runs(folders: Sequence[Path], moved: Moved = UNMOVED) -> list[Run]:
    """Read run folders, whose data sets may have moved.

    Each run is named by its path below the folder that all share.

    Raises:
        InputError: a file in one of them is broken.
    """
    shared = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [_read_run(folder, folder.relative_to(shared).as_posix(), moved) for folder in folders]


def _read_run(folder: Path, name: str, moved: Moved) -> Run:
    config = read_mapping(folder / run_folder.CONFIG)
    split = read_mapping(folder / run_folder.SPLIT)
    return Run(
        folder=folder,
        name=name,
        config=config,
        summary=read_summary(folder, config),
        environment=read_mapping(folder / run_folder.ENVIRONMENT),
        metrics=read_metrics(folder / run_folder.METRICS),
        scores=_read_scores(folder / run_folder.CASES),
        columns=_read_columns(folder / run_folder.CASES),
        fingerprint=read_mapping(folder / run_folder.FINGERPRINT),
        calibration=read_mapping(folder / run_folder.CALIBRATION),
        split=None if split is None else {**split, "files": moved.files(split, config)},
        plan=read_mapping(folder / run_folder.PLAN),
        layout=read_mapping(folder / run_folder.LAYOUT),
        timing=timing_of(folder),
    )


def _read_scores(path: Path) -> tuple[Score, ...] | None:
    rows = read_rows(path, columns=("case", "label", "dice"))
    if rows is None:
        return None
    return tuple(_score(path, index, row) for index, row in enumerate(rows))


def _read_columns(path: Path) -> Columns:
    rows = read_rows(path, columns=("case",)) or []
    names = [name for name in (rows[0] if rows else {}) if name.startswith(STRATUM)]
    return {
        name.removeprefix(STRATUM): {row["case"]: row[name] for row in rows if row[name]} for name in names
    }


def _score(path: Path, index: int, row: CsvRow) -> Score:
    """Return the score in a row of cases.csv.

    Earlier versions wrote a Dice of 0 for labels that the reference lacks; such values are dropped.
    """
    volume, reference = (_cell(path, index, row, name) for name in ("volume_mm3", "reference_mm3"))
    found = {metric.name: _cell(path, index, row, metric.name) for metric in METRICS if metric.name in row}
    if reference == 0:
        found = {name: value if name in OF_PREDICTION else None for name, value in found.items()}
    outside = _cell(path, index, row, "outside_region_voxels")
    return Score(
        case=row["case"],
        label=row["label"],
        values=found,
        volume_mm3=1.0 if volume is None else volume,
        reference_mm3=1.0 if reference is None else reference,
        group=row.get("group") or None,
        outside_region_voxels=None if outside is None else round(outside),
    )


def _cell(path: Path, index: int, row: CsvRow, name: str) -> float | None:
    return number(row.get(name), where=f"{path}: line {index + 2}, column {name}")
