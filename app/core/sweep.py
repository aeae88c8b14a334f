"""The files of a sweep: its jobs, their folders and their states."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from app.core.errors import InputError
from app.core.files import read_json, write_json

SWEEP = "sweep.json"
JOB = "job.json"
TIMINGS = "timings.csv"
"""A file in the folder of the runs: columns run, forward_ms, step_ms, machine; all runs timed together."""
State = Literal["waiting", "running", "done", "failed"]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class SweepJob:
    """A job of a sweep; jobs of the same group differ only in seed and fold."""

    name: str
    group: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep, each in a folder of its name, and the group that others are compared with."""

    name: str
    baseline: str | None
    entries: tuple[SweepJob, ...]


@dataclass(frozen=True)
class JobRecord:
    """The state of a job; `hash` is the digest of the configuration it runs with."""

    hash: str
    overrides: tuple[str, ...]
    state: State = "waiting"
    seconds: float | None = None
    error: str | None = None

    def now(self, state: State, *, seconds: float | None = None, error: str | None = None) -> "JobRecord":
        """Return the record of the same job in another state."""
        return replace(self, state=state, seconds=seconds, error=error)


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """Write sweep.json."""
    write_json(folder / SWEEP, asdict(sweep))


def read_sweep(folder: Path) -> Sweep | None:
    """Read sweep.json; return None if there is none.

    Raises:
        InputError: the file is broken.
    """
    return _read(folder / SWEEP, _sweep, "a sweep")


def write_record(folder: Path, record: JobRecord) -> None:
    """Write job.json."""
    write_json(folder / JOB, asdict(record))


def read_record(folder: Path) -> JobRecord | None:
    """Read job.json; return None if there is none.

    Raises:
        InputError: the file is broken.
    """
    return _read(folder / JOB, _record, "the record of a job")


def _read(path: Path, build: Callable[[dict[str, Any]], _Value], kind: str) -> _Value | None:
    if not path.is_file():
        return None
    values = read_json(path)
    try:
        return build(dict(values))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not {kind} ({error!r})") from None


def _sweep(values: dict[str, Any]) -> Sweep:
    entries = tuple(
        SweepJob(str(entry["name"]), str(entry["group"]), tuple(entry["overrides"]))
        for entry in values["entries"]
    )
    return Sweep(str(values["name"]), values["baseline"], entries)


def _record(values: dict[str, Any]) -> JobRecord:
    return JobRecord(**(values | {"overrides": tuple(values["overrides"])}))
