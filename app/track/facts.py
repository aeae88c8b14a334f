"""The settings and results of a run folder as flat names and values."""

from pathlib import Path
from typing import Any

from app.core import run_folder
from app.core.files import read_json, read_yaml
from app.core.nested import dotted

_DECIDING = (
    *("choices", "seed", "fold", "folds", "split_seed", "plan", "model", "op", "decoder_op"),
    *("loss", "optimizer", "schedule", "augment", "train", "search"),
)
"""Sections of config.yaml that determine the result."""


def run_settings(run: Path) -> dict[str, Any]:
    """Return the run's settings, for example optimizer.lr -> 0.002; lists as text, without nulls."""
    config = read_yaml(run / run_folder.CONFIG)
    found = dotted({section: config[section] for section in _DECIDING if section in config})
    return {name: _simple(value) for name, value in found if not isinstance(value, dict | None)}


def run_results(run: Path) -> dict[str, float]:
    """Return the numbers of summary.json, for example mean_dice, dice.liver and macs_per_patch."""
    summary = read_json(run / run_folder.SUMMARY)
    return {
        name: float(value)
        for name, value in dotted(summary)
        if isinstance(value, int | float) and name not in ("fold", "seed")
    }


def _simple(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
