"""One look for all long work: a bar with count, time and ETA on stderr, unless this logger is quiet."""

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
    """Whether the user wants to see progress."""
    return log.isEnabledFor(logging.INFO)


@contextmanager
def progress_bar(title: str, total: int, *, done: int = 0) -> Iterator["Advance"]:
    """Show a bar for `total` items of work, `done` of them finished already; yield its advance function."""
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
    """Moves a bar by one item or `count`; the note is shown at its end."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def __call__(self, count: int = 1, *, note: str | None = None) -> None:
        self._bar.advance(self._task, count)
        if note is not None:
            self._bar.update(self._task, note=note)

    def say(self, line: str) -> None:
        """Print a line above the bar; where stderr is no terminal, such lines are all that is seen of it."""
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
