"""The search space: override keys, each with a list of values or a range."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from app.cli.config.settings import read_settings
from app.core.errors import InputError
from app.core.nested import dotted


@dataclass(frozen=True)
class Range:
    """A range from `low` to `high`, both included; of whole numbers if both ends and the step are."""

    low: float
    high: float
    step: float | None = None
    log: bool = False


def distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return the distributions that Optuna draws from, by key.

    Raises:
        InputError: a key has neither values nor a range.
    """
    if not space:
        raise InputError("tune.space: got nothing to choose from, wanted at least one key")
    named = dotted(space, opened=_is_section)
    return {key: _distribution(key, values) for key, values in named if not _is_section(values)}


def _is_section(values: Any) -> bool:
    """Return whether values are keys with their own values, and not a range."""
    return isinstance(values, dict) and not {"low", "high"} & set(values)


def _distribution(key: str, values: Any) -> BaseDistribution:
    where = f"tune.space.{key}"
    if isinstance(values, list | tuple) and values:
        return CategoricalDistribution(tuple(values))
    if not isinstance(values, dict):
        raise InputError(f"{where}: got {values!r}, wanted a list of values or low and high")
    found = read_settings(Range, values, where)
    try:
        return _range(found)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _range(of: Range) -> BaseDistribution:
    numbers = [number for number in (of.low, of.high, of.step) if number is not None]
    if all(float(number).is_integer() for number in numbers):
        return IntDistribution(int(of.low), int(of.high), log=of.log, step=int(of.step or 1))
    return FloatDistribution(of.low, of.high, log=of.log, step=of.step)
