"""The progress bar of all long work: count, time and ETA on stderr, if this logger shows INFO."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)


def progress_shown() -> bool:
    """Return whether progress bars are shown: this logger's level is INFO or lower."""
    return log.isEnabledFor(logging.INFO)


@contextmanager
def progress_bar(title: str, total: int, *, done: int = 0) -> Iterator["Advance"]:
    """Show a bar for `total` items of work, `done` of them already finished; yield its `Advance`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True, quiet=not progress_shown())) as bar:
        yield Advance(bar, bar.add_task(title, total=total, completed=done, note=""))


class Advance:
    """A callable that advances a bar by `count` items; `note` is shown at the end of the bar."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def __call__(self, count: int = 1, *, note: str | None = None) -> None:
        self._bar.advance(self._task, count)
        if note is not None:
            self._bar.update(self._task, note=note)

    def say(self, line: str) -> None:
        """Print a line above the bar; if stderr is not a terminal, only such lines are shown."""
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
