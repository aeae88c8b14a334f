"""Objects that sections of the configuration describe by the name of a class or function."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from app.cli.config.settings import literal, section_values
from app.cli.config.wanted import check_arguments
from app.core.errors import InputError


def object_of(values: Mapping[str, Any], where: str) -> Any:
    """Return the class or function that `_target_` of a section names.

    Raises:
        InputError: there is none; `where` is the section.
    """
    name = values.get("_target_")
    try:
        return get_object(str(name))
    except (ImportError, ValueError):  # Hydra has logged what cannot be imported
        raise InputError(
            f"{where}._target_: got {name!r}, which cannot be imported; wanted the module and name of a class"
        ) from None


def build_object(section: DictConfig | dict[str, Any], where: str) -> Any:
    """Return the object that a section describes.

    Raises:
        InputError: the class does not exist, or an argument has the wrong type.
    """
    values = section_values(section) if isinstance(section, DictConfig) else section
    check_arguments(object_of(values, where), values, where)
    return instantiate(section if isinstance(section, DictConfig) else literal(section), _convert_="all")
