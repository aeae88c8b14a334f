"""The record of a race as a file: the networks of each rung, their parents and their losses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from app.core.files import read_json, write_json
from app.core.layout import Layout
from app.core.types import Size

Worth = Mapping[str, Mapping[str, float]]
"""Importance of the channels of a kernel relative to those of its convolution, by convolution and kernel."""


@dataclass
class RaceEntry:
    """A network in a rung."""

    number: int
    layout: Layout
    parent: int | None = None
    """The network of the rung before with whose weights it starts; None: new weights."""
    done: bool = False
    loss: float | None = None
    """None if not judged yet, or if its loss was not finite."""
    worth: dict[str, dict[str, float]] = field(default_factory=dict)
    """Importance of the channels of a kernel relative to those of its convolution."""
    train_seconds: float = 0.0
    judge_seconds: float = 0.0

    @property
    def rank(self) -> float:
        """The loss to rank by; infinite if there is none."""
        return math.inf if self.loss is None else self.loss


@dataclass
class Record:
    """The record of a race so far; it is written after every network."""

    path: Path
    rungs: list[list[RaceEntry]]
    draw_seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read a record; return an empty one if there is no file."""
        known: dict[str, Any] = {"rungs": [], "draw_seconds": 0.0}
        if path.is_file():
            known = read_json(path)
        rungs = [[_entry(values, str(path)) for values in rung] for rung in known["rungs"]]
        return cls(path, rungs, known["draw_seconds"])

    def begin(self, entries: list[RaceEntry], seconds: float) -> None:
        """Add a rung whose networks took this many seconds to draw."""
        self.rungs.append(entries)
        self.draw_seconds += seconds
        self.write()

    def write(self) -> None:
        """Write all rungs."""
        rungs = [[{**vars(entry), "layout": entry.layout.to_dict()} for entry in rung] for rung in self.rungs]
        write_json(self.path, {"rungs": rungs, "draw_seconds": self.draw_seconds})


def mean_worth(entries: Sequence[RaceEntry], strides: Sequence[Size]) -> dict[str, dict[str, float]]:
    """Return the mean importance over the networks with these strides, by convolution and kernel."""
    found: dict[str, dict[str, list[float]]] = {}
    for entry in entries:
        assert entry.layout.network is not None
        if entry.layout.network.strides != tuple(strides):
            continue
        for name, kernels in entry.worth.items():
            for kernel, value in kernels.items():
                found.setdefault(name, {}).setdefault(kernel, []).append(value)
    return {name: {kernel: fmean(values) for kernel, values in of.items()} for name, of in found.items()}


def multiplied(first: Worth, second: Worth) -> dict[str, dict[str, float]]:
    """Return the products of two kinds of importance; a missing value counts as 1."""
    return {
        name: {
            kernel: first.get(name, {}).get(kernel, 1.0) * second.get(name, {}).get(kernel, 1.0)
            for kernel in {*first.get(name, {}), *second.get(name, {})}
        }
        for name in {*first, *second}
    }


def _entry(values: dict[str, Any], where: str) -> RaceEntry:
    return RaceEntry(**{**values, "layout": Layout.from_dict(values["layout"], where)})
