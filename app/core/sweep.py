"""A sweep on disk: which jobs it has, where each of them is, and how far each has come."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from app.core.errors import InputError
from app.core.files import read_json, write_json

SWEEP = "sweep.json"
JOB = "job.json"
TIMINGS = "timings.csv"
"""Beside runs: columns run, forward_ms, step_ms, machine; all measured together, so that they compare."""
State = Literal["waiting", "running", "done", "failed"]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Entry:
    """A job of a sweep; jobs of one group differ only in seed and fold."""

    name: str
    group: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep, each in the folder of its name, and the group all others are compared with."""

    name: str
    baseline: str | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class JobRecord:
    """How far a job has come; `hash` is of the configuration it runs with."""

    hash: str
    overrides: tuple[str, ...]
    state: State = "waiting"
    seconds: float | None = None
    error: str | None = None

    def now(self, state: State, *, seconds: float | None = None, error: str | None = None) -> "JobRecord":
        """The same job in another state."""
        return replace(self, state=state, seconds=seconds, error=error)


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """Write sweep.json."""
    write_json(folder / SWEEP, asdict(sweep))


def read_sweep(folder: Path) -> Sweep | None:
    """Read sweep.json; None where there is none.

    Raises:
        InputError: the file is broken.
    """
    return _read(folder / SWEEP, _sweep, "a sweep")


def write_record(folder: Path, record: JobRecord) -> None:
    """Write job.json."""
    write_json(folder / JOB, asdict(record))


def read_record(folder: Path) -> JobRecord | None:
    """Read job.json; None where there is none.

    Raises:
        InputError: the file is broken.
    """
    return _read(folder / JOB, _record, "the record of a job")


def _read(path: Path, build: Callable[[dict[str, Any]], _Value], what: str) -> _Value | None:
    if not path.is_file():
        return None
    values = read_json(path)
    try:
        return build(dict(values))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not {what} ({error!r})") from None


def _sweep(values: dict[str, Any]) -> Sweep:
    entries = tuple(
        Entry(str(entry["name"]), str(entry["group"]), tuple(entry["overrides"]))
        for entry in values["entries"]
    )
    return Sweep(str(values["name"]), values["baseline"], entries)


def _record(values: dict[str, Any]) -> JobRecord:
    return JobRecord(**(values | {"overrides": tuple(values["overrides"])}))
