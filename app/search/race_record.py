"""What a race has come to, as a file: who ran in which rung, with what weights, and how it was judged."""

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
"""How much a channel of a kernel matters beside others of its convolution, by convolution and kernel."""


@dataclass
class Entry:
    """One network in one rung."""

    number: int
    layout: Layout
    parent: int | None = None
    """The network of the rung before whose weights it begins with; None: fresh ones."""
    done: bool = False
    loss: float | None = None
    """None if not judged yet, or if its loss was not finite."""
    worth: dict[str, dict[str, float]] = field(default_factory=dict)
    """How much a channel of each kernel matters beside others of its convolution."""
    train_seconds: float = 0.0
    judge_seconds: float = 0.0

    @property
    def rank(self) -> float:
        """The loss; infinite without one."""
        return math.inf if self.loss is None else self.loss


@dataclass
class Record:
    """The rungs so far; written after every network."""

    path: Path
    rungs: list[list[Entry]]
    draw_seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read a record; an empty one if there is no file."""
        known: dict[str, Any] = {"rungs": [], "draw_seconds": 0.0}
        if path.is_file():
            known = read_json(path)
        rungs = [[_entry(values, str(path)) for values in rung] for rung in known["rungs"]]
        return cls(path, rungs, known["draw_seconds"])

    def begin(self, entries: list[Entry], seconds: float) -> None:
        """Add a rung, whose networks were drawn in some seconds."""
        self.rungs.append(entries)
        self.draw_seconds += seconds
        self.write()

    def write(self) -> None:
        """Write all rungs."""
        rungs = [[{**vars(entry), "layout": entry.layout.to_dict()} for entry in rung] for rung in self.rungs]
        write_json(self.path, {"rungs": rungs, "draw_seconds": self.draw_seconds})


def pooled(entries: Sequence[Entry], strides: Sequence[Size]) -> dict[str, dict[str, float]]:
    """What channels were worth on average over the networks of these strides, by convolution and kernel."""
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
    """Return the products of two kinds of worth; what one of them lacks counts as 1."""
    return {
        name: {
            kernel: first.get(name, {}).get(kernel, 1.0) * second.get(name, {}).get(kernel, 1.0)
            for kernel in {*first.get(name, {}), *second.get(name, {})}
        }
        for name in {*first, *second}
    }


def _entry(values: dict[str, Any], where: str) -> Entry:
    return Entry(**{**values, "layout": Layout.from_dict(values["layout"], where)})
