"""Sections of the configuration as frozen dataclasses, which are defined next to the code that uses them."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from app.core.errors import InputError
from app.train.settings import TrainSettings

_Settings = TypeVar("_Settings")
_REFERENCE = re.compile(r"(\\*)\$\{")


def read_settings(cls: type[_Settings], section: DictConfig | Mapping[str, Any], name: str) -> _Settings:
    """Return a section as `cls`: values are checked against the types of its fields, lists become tuples.

    Raises:
        InputError: a key is missing or unknown, or a value has the wrong type; the message names section and
            key.
    """
    values = section_values(section) if isinstance(section, DictConfig) else dict(section)
    try:
        checked = OmegaConf.merge(OmegaConf.structured(cls), literal(values))
        typed = OmegaConf.to_container(checked, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = f"{name}.{error.full_key}" if error.full_key else name
        raise InputError(f"{key}: {str(error.msg or error).splitlines()[0]}") from None
    assert isinstance(typed, dict)
    return cls(**{field.name: _tuples(typed[field.name]) for field in fields(cls)})  # type: ignore[arg-type]


def train_settings(section: DictConfig) -> TrainSettings:
    """Return the settings of the section `train`, without keys that concern only this command."""
    return read_settings(
        TrainSettings, leave_out(section_values(section), "resume", "init", "yardstick"), "train"
    )


def required(section: DictConfig, key: str, name: str, *, hint: str = "") -> str:
    """Return a setting that the mode needs; `hint` ends the error if it is not set.

    Raises:
        InputError: it is not set.
    """
    if section[key] is None:
        raise InputError(f"{name}.{key}: not set; this mode needs {name}.{key}=<...>{hint}")
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
