"""One line about the sweep whenever a job ends: jobs done, the job's time and the time left.

It is made from the records of the jobs, so it works on one machine and on many.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.cli.sweep.watching import watching
from app.core.progress import progress_shown
from app.core.sweep import JobRecord, read_record
from app.report.wording import duration

_ENDED = ("done", "failed")


@contextmanager
def progress_line(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Print a line to stderr whenever one of the named jobs ends, until the block ends."""
    line = _SweepLine(folder, names)
    with watching(line.update):
        yield


class _SweepLine:
    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names
        self._known = {name for name, record in self._records().items() if record.state in _ENDED}
        self._todo = len(names) - len(self._known)
        self._started = time.perf_counter()

    def update(self) -> None:
        records = self._records()
        ended = {name: record for name, record in records.items() if record.state in _ENDED}
        for name in sorted(set(ended) - self._known):
            self._known.add(name)
            if progress_shown():
                print(self._text(name, ended), file=sys.stderr, flush=True)

    def _text(self, name: str, ended: dict[str, JobRecord]) -> str:
        record = ended[name]
        how = f"in {duration(record.seconds)}" if record.state == "done" else f"failed: {record.error}"
        spent = time.perf_counter() - self._started
        left = len(self._names) - len(self._known)
        eta = spent / (self._todo - left) * left
        failed = sum(ended[known].state == "failed" for known in self._known)
        counts = f"{len(self._known) - failed} of {len(self._names)} done" + (
            f", {failed} failed" * bool(failed)
        )
        return f"sweep: {counts}, {duration(spent)}, ETA {duration(eta)} | {name} {how}"

    def _records(self) -> dict[str, JobRecord]:
        found = {name: read_record(self._folder / name) for name in self._names}
        return {name: record for name, record in found.items() if record is not None}
