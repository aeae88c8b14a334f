"""A task: what is to be segmented in which scans."""

import re
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import InputError


@dataclass(frozen=True)
class Case:
    """One scan and, where it is known, its reference segmentation."""

    id: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class GroupRule:
    """Which cases belong together (the two sides of one head, the visits of one patient).

    `pattern` is a regular expression whose first group captures the key from a case id. With `block`, the
    key is a number and numbers 1..block, block+1..2*block, ... belong together.
    """

    pattern: str
    block: int | None

    def key(self, case_id: str) -> str:
        """The name of the group of a case.

        Raises:
            InputError: the pattern does not fit the case id.
        """
        match = re.search(self.pattern, case_id)
        if match is None or not match.groups():
            raise InputError(f"task.group.pattern {self.pattern!r} captures nothing in case id {case_id!r}")
        captured = match.group(1)
        if self.block is None:
            return captured
        if not captured.isdigit():
            raise InputError(f"task.group.block needs a number, {self.pattern!r} captures {captured!r}")
        return str((int(captured) - 1) // self.block)


@dataclass(frozen=True)
class Task:
    """The facts of a data set: one name per image channel, one per label value (0 is background)."""

    name: str
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    cases: tuple[Case, ...]

    @property
    def foreground(self) -> tuple[str, ...]:
        """Names of label values 1, 2, ..."""
        return self.labels[1:]
