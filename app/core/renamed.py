"""Names from older versions in run folders, checkpoints and commands, each with its current name.

All renamed things are listed here and nowhere else. An old name is never reused for something new.
"""

from collections.abc import Mapping
from typing import Any

KINDS = {"Dice": "DiceNet"}
"""Classes that a checkpoint describes."""

TARGETS = {
    "app.ops.antblock.Ant": "app.operators.antblock.Ant",
    "app.ops.cakes.Cakes": "app.operators.cakes.Cakes",
    "app.ops.dice.Dice": "app.operators.dicenet.DiceNet",
    "app.ops.dwsep.DepthwiseSeparable": "app.operators.dwsep.DepthwiseSeparable",
    "app.ops.p3d.P3d": "app.operators.p3d.P3d",
    "app.ops.plain.Conv2d": "app.operators.plain.Conv2d",
    "app.ops.plain.Conv3d": "app.operators.plain.Conv3d",
    "app.ops.rolling.Rolling": "app.operators.rolling.Rolling",
    "app.ops.shift.Shift": "app.operators.shift.Shift",
    "app.ops.supernet.SuperNet": "app.operators.supernet.SuperNet",
    "app.track.tracker.RunFolder": "app.track.tracker.NoTracker",
    "app.cli.time_runs.run": "app.cli.modes.time.run",
    "app.cli.tune.mode.run": "app.cli.modes.tune.run",
    **{
        f"app.cli.{mode}.run": f"app.cli.modes.{mode}.run"
        for mode in ("analyze", "check", "cleanup", "compress", "evaluate", "export", "plan", "predict")
    },
    **{f"app.cli.{mode}.run": f"app.cli.modes.{mode}.run" for mode in ("report", "search", "train")},
}
"""Classes and functions that config.yaml names."""

KEYS = {
    "infer": "sliding",
    "train.foreground_share": "plan.foreground_share",
    "search.unit": "search.cost",
    "compress.unit": "compress.cost",
    "analyze.unit": "analyze.cost",
}
"""Sections and settings of the configuration."""

GROUPS = {"infer": "sliding", "decoder_op": "op@decoder_op"}
"""Groups of the configuration."""

OPTIONS = {
    ("op", "dice"): "dicenet",
    ("op@decoder_op", "dice"): "dicenet",
    ("op@decoder_op", "same"): "null",
    ("experiment", "recipe"): "standard",
    ("search.method", "budget"): "gates",
}
"""Values of a group or a setting."""


def renamed_override(word: str) -> str:
    """Return an override in current names: `sliding.overlap=0.5` for `infer.overlap=0.5`."""
    key, equals, value = word.partition("=")
    sign = key[: len(key) - len(key.lstrip("+~"))]
    name = key[len(sign) :]
    name = GROUPS.get(name, _renamed_key(name))
    values = [OPTIONS.get((name, part), part) for part in value.split(",")]
    return f"{sign}{name}{equals}{','.join(values)}" if equals else word


def renamed_config(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run from an older version in current names."""
    values: dict[str, Any] = _renamed_targets(stored)
    earlier_mode = values.get("mode", {}).get("run") if "infer" in values else None
    for key, new in KEYS.items():
        _move(values, key.split("."), new.split("."))
    for (key, old), new in OPTIONS.items():
        *sections, last = key.split(".")
        section = values
        for name in sections:
            section = section.get(name) or {}
        if section.get(last) == old:
            section[last] = new
    if earlier_mode == "app.cli.modes.search.run" and values["search"]["method"] == "paper_performance":
        values["train"]["steps"] //= 2  # the method had already doubled the stored steps
    if earlier_mode == "app.cli.modes.compress.run":  # the compression had already changed both stored values
        values["optimizer"]["lr"] /= values["compress"]["finetune_rate"]
        values["choices"]["op"] = values["choices"]["op"].removesuffix(f"-{values['compress']['method']}")
    return values


def _renamed_key(name: str) -> str:
    for old, new in KEYS.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def _renamed_targets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _renamed_targets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed_targets(item) for item in value]
    return TARGETS.get(value, value) if isinstance(value, str) else value


def _move(values: dict[str, Any], old: list[str], new: list[str]) -> None:
    """Move a value from the key `old` to the key `new`, if it exists."""
    *sections, last = old
    source = values
    for name in sections:
        source = source.get(name) or {}
    if last not in source:
        return
    value = source.pop(last)
    *sections, last = new
    target = values
    for name in sections:
        target = target.setdefault(name, {})
    target[last] = value
