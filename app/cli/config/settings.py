"""Sections of the configuration as frozen dataclasses, which are defined next to the code that uses them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from app.cli.config.wanted import hint_of, wrong_type
from app.core.errors import InputError
from app.train.settings import TrainSettings

_Settings = TypeVar("_Settings")
_REFERENCE = re.compile(r"(\\*)\$\{")


def read_settings(cls: type[_Settings], section: DictConfig | Mapping[str, Any], name: str) -> _Settings:
    """Return a section as `cls`: values are checked against the types of its fields, lists become tuples.

    The name is empty for keys outside of sections.

    Raises:
        InputError: a key is missing or unknown, or a value has the wrong type; the message names section and
            key.
    """
    values = section_values(section) if isinstance(section, DictConfig) else dict[str, Any](section)
    try:
        checked = OmegaConf.merge(OmegaConf.structured(cls), literal(values))
        typed = OmegaConf.to_container(checked, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = ".".join(filter(None, (name, error.full_key)))
        raise InputError(_wrong(error, cls, values, name) or f"{key}: {_first_line(error)}") from None
    assert isinstance(typed, dict)
    return cls(**{field.name: _tuples(typed[field.name]) for field in fields(cls)})  # type: ignore[arg-type]


def _wrong(error: OmegaConfBaseException, cls: type, values: Mapping[str, Any], name: str) -> str | None:
    """Return the message about a value of the wrong type; None for other errors."""
    if not isinstance(error, ValidationError):
        return None
    key = error.full_key or next((key for key in values if not _accepted(cls, key, values[key])), None)
    if not key:
        return None
    value = OmegaConf.select(OmegaConf.create(literal(values)), key)
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return wrong_type(".".join(filter(None, (name, key))), plain, hint_of(cls, key))


def _accepted(cls: type, key: str, value: Any) -> bool:
    try:
        OmegaConf.merge(OmegaConf.structured(cls), literal({key: value}))
    except OmegaConfBaseException:
        return False
    return True


def _first_line(error: OmegaConfBaseException) -> str:
    return str(error.msg or error).splitlines()[0]


def read_part(cls: type[_Settings], section: DictConfig, name: str) -> _Settings:
    """Return the keys of a section that are fields of `cls`; keys that older runs lack have their defaults.

    Raises:
        InputError: a value has the wrong type.
    """
    values, names = section_values(section), [field.name for field in fields(cls)]  # type: ignore[arg-type]
    return read_settings(cls, {key: values[key] for key in names if key in values}, name)


@dataclass(frozen=True)
class _Measured:
    yardstick: bool = False
    """Whether the speed of the machine is measured."""


def measures_speed(section: DictConfig) -> bool:
    """Return `train.yardstick`, which belongs to the recipe and not to the training's own settings."""
    return read_part(_Measured, section, "train").yardstick


def train_settings(section: DictConfig) -> TrainSettings:
    """Return the settings of the section `train`, without keys that concern only this command."""
    return read_settings(
        TrainSettings, leave_out(section_values(section), "resume", "init", "yardstick"), "train"
    )


def required(section: DictConfig, key: str, name: str, *, wanted: str, hint: str = "") -> str:
    """Return a setting that the mode needs; if it is not set, the error says what is wanted and the hint.

    Raises:
        InputError: it is not set.
    """
    if section[key] is None:
        raise InputError(f"{name}.{key}: not set; this mode needs {name}.{key}=<{wanted}>{hint}")
    return str(section[key])


def section_values(section: DictConfig) -> dict[str, Any]:
    """Return a section as a dictionary of plain values, with interpolations resolved."""
    values = OmegaConf.to_container(section, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def literal(value: Any) -> Any:
    """Return plain values with `${` escaped, so that a configuration does not interpolate them."""
    if isinstance(value, Mapping):
        return {key: literal(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [literal(entry) for entry in value]
    return _REFERENCE.sub(r"\1\1\\${", value) if isinstance(value, str) else value


def leave_out(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the values without some keys."""
    return {name: value for name, value in values.items() if name not in keys}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
