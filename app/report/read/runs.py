"""Run folders: where they are, and what each of them holds."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core import run_folder
from app.core.errors import InputError
from app.report.read.records import Mapping, Row, number, read_mapping, read_rows
from app.report.read.summary import Summary, read_summary
from app.report.read.timings import RunTiming, timing_of

MARKS = (run_folder.CONFIG, run_folder.SUMMARY)
RESULTS = (run_folder.SUMMARY, run_folder.METRICS)
_VALIDATION = "val_dice_"


@dataclass(frozen=True)
class CaseScore:
    """How one label of one held-out case was predicted; None where undefined."""

    case: str
    label: str
    dice: float | None
    hd95_mm: float | None
    nsd: float | None


@dataclass(frozen=True)
class Run:
    """One run folder, read; None for a file that is not there."""

    folder: Path
    name: str
    config: Mapping | None
    summary: Summary
    environment: Mapping | None
    metrics: dict[str, list[float | None]] | None
    scores: tuple[CaseScore, ...] | None
    split: Mapping | None
    plan: Mapping | None
    layout: Mapping | None
    timing: RunTiming

    @property
    def data_set(self) -> str | None:
        """The name of its data set's folder; the task's where no configuration says that."""
        folder = self._task.get("folder")
        return Path(folder).name if folder else self.summary.task

    @property
    def label_values(self) -> dict[str, tuple[int, ...]]:
        """What is scored, and the values in label files it is made of: regions, or labels 1, 2, ..."""
        regions = self._task.get("regions")
        if regions:
            return {str(name): tuple(values) for name, values in regions.items()}
        return {name: (value,) for value, name in enumerate(self.labels(), start=1)}

    @property
    def ignored_value(self) -> int | None:
        """The value in label files that does not count: the last one, where one is ignored."""
        if self._task.get("ignore") is None:
            return None
        return 1 + max((value for values in self.label_values.values() for value in values), default=0)

    @property
    def _task(self) -> Mapping:
        task = (self.config or {}).get("task")
        return task if isinstance(task, dict) else {}

    def labels(self) -> list[str]:
        """Names of the labels, background left out, in the order of their values."""
        if self.summary.dice:
            return list(self.summary.dice)
        validated = [name.removeprefix(_VALIDATION) for name in self.metrics or {} if _VALIDATION in name]
        scored = [score.label for score in self.scores or ()]
        return list(dict.fromkeys(name for name in [*validated, *scored] if name != "mean"))


def find_runs(folder: Path) -> list[Path]:
    """Folders at or below `folder` with a config.yaml or a summary.json, sorted; hidden ones are left out."""
    found = []
    for here, inside, files in os.walk(folder):
        inside[:] = [name for name in inside if not name.startswith(".")]
        if any(mark in files for mark in MARKS):
            found.append(Path(here))
    return sorted(found)


def read_metrics(path: Path) -> dict[str, list[float | None]] | None:
    """The learning curves of metrics.csv by column; None where the file is not there.

    Raises:
        InputError: a cell is not a number.
    """
    rows = read_rows(path, columns=("step",))
    if rows is None:
        return None
    names = [name for name in rows[0] if name] if rows else []
    return {name: [_cell(path, index, row, name) for index, row in enumerate(rows)] for name in names}


def has_results(folder: Path) -> bool:
    """Whether a folder is a run that came to something."""
    return any((folder / name).is_file() for name in RESULTS)


def with_results(folders: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Share out folders, and the run folders below them, into those with results and those without.

    Raises:
        InputError: a folder has no results, neither itself nor below it.
    """
    full: dict[Path, None] = {}
    empty: dict[Path, None] = {}
    for folder in folders:
        inside = [folder] if has_results(folder) else find_runs(folder)
        found = [run for run in inside if has_results(run)]
        if not found:
            raise InputError(f"{folder}: no run here or below; looked for {' and '.join(RESULTS)}")
        full.update(dict.fromkeys(run.resolve() for run in found))
        empty.update(dict.fromkeys(run.resolve() for run in inside if not has_results(run)))
    return list(full), list(empty)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read run folders; each is named by its path below the folder they share.

    Raises:
        InputError: a file in one of them is broken.
    """
    shared = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [_read_run(folder, folder.relative_to(shared).as_posix()) for folder in folders]


def _read_run(folder: Path, name: str) -> Run:
    config = read_mapping(folder / run_folder.CONFIG)
    return Run(
        folder=folder,
        name=name,
        config=config,
        summary=read_summary(folder, config),
        environment=read_mapping(folder / run_folder.ENVIRONMENT),
        metrics=read_metrics(folder / run_folder.METRICS),
        scores=_read_scores(folder / run_folder.CASES),
        split=read_mapping(folder / run_folder.SPLIT),
        plan=read_mapping(folder / run_folder.PLAN),
        layout=read_mapping(folder / run_folder.LAYOUT),
        timing=timing_of(folder),
    )


def _read_scores(path: Path) -> tuple[CaseScore, ...] | None:
    rows = read_rows(path, columns=("case", "label", "dice"))
    if rows is None:
        return None
    return tuple(
        CaseScore(
            row["case"],
            row["label"],
            *(_cell(path, index, row, name) for name in ("dice", "hd95_mm", "nsd")),
        )
        for index, row in enumerate(rows)
    )


def _cell(path: Path, index: int, row: Row, name: str) -> float | None:
    return number(row.get(name), where=f"{path}: line {index + 2}, column {name}")
