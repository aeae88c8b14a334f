"""The names and results of a run, from summary.json, or from config.yaml while the run is unfinished."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core import run_folder
from app.report.read.records import Mapping, number, numbers, read_mapping

DiceByLabel = dict[str, float | None]


@dataclass(frozen=True)
class Summary:
    """The figures of one run; None if undefined or not yet known. `patch` is (D, H, W)."""

    task: str | None = None
    fold: str | None = None
    seed: str | None = None
    model: str | None = None
    op: str | None = None
    patch: tuple[int, ...] = ()
    params: float | None = None
    macs_per_patch: float | None = None
    steps: float | None = None
    samples: float | None = None
    train_seconds: float | None = None
    decode_seconds: float | None = None
    """Time of a search from its trained super-network to a layout."""
    peak_rss_mb: float | None = None
    mean_dice: float | None = None
    dice: DiceByLabel = field(default_factory=dict)
    test_dice: DiceByLabel = field(default_factory=dict)
    """Scores on a test set, which no choice was based on."""
    hd95_mm: DiceByLabel = field(default_factory=dict)
    nsd: DiceByLabel = field(default_factory=dict)
    race: Mapping | None = None
    """What summary.json says of a race of networks."""

    @property
    def of_search(self) -> bool:
        """Whether the run is a search: it ends with a layout and evaluates no held-out cases."""
        return self.decode_seconds is not None

    @property
    def search_seconds(self) -> float | None:
        """Total time of a search; None for other runs."""
        if self.train_seconds is None or self.decode_seconds is None:
            return None
        return self.train_seconds + self.decode_seconds


_WORDS = ("task", "fold", "seed", "model", "op")
_FIGURES = (
    "params",
    "macs_per_patch",
    "steps",
    "samples",
    "train_seconds",
    "decode_seconds",
    "peak_rss_mb",
    "mean_dice",
)
_SCORES = ("dice", "hd95_mm", "nsd")


def read_summary(folder: Path, config: Mapping | None) -> Summary:
    """Read summary.json; if it does not exist, only the names in the run's configuration.

    Raises:
        InputError: a file is broken or holds text instead of a number.
    """
    path = folder / run_folder.SUMMARY
    found = read_mapping(path)
    if found is None:
        return Summary(**_words({**(config or {}), **((config or {}).get("choices") or {})}))
    figures: Mapping = {name: number(found.get(name), where=f"{path}: {name}") for name in _FIGURES}
    scores: Mapping = {name: numbers(found.get(name), where=f"{path}: {name}") for name in _SCORES}
    tested = numbers((found.get("test") or {}).get("dice"), where=f"{path}: test.dice")
    patch = tuple(int(size) for size in found.get("patch") or ())
    race = found.get("race")
    return Summary(**_words(found), **figures, **scores, test_dice=tested, patch=patch, race=race)


def _words(found: Mapping) -> Mapping:
    return {name: _name(found.get(name)) for name in _WORDS}


def _name(value: Any) -> str | None:
    """Return the name of a choice: itself, `name` in a config group, or the last part of `_target_`."""
    if isinstance(value, dict):
        inside = value.get("name", value.get("_target_"))
        return None if inside is None else str(inside).rpartition(".")[2]
    return None if value is None else str(value)
