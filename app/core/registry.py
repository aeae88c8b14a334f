"""Parts of a network that a checkpoint describes as plain values, and that are found again by name.

A description is data: its `kind` is looked up among the classes of one of our own packages, never imported
from wherever it says.
"""

import importlib
import inspect
import pkgutil
from dataclasses import MISSING, asdict, fields
from types import ModuleType
from typing import Any, ClassVar, Self, TypeVar

from app.core.errors import InputError
from app.core.renamed import KINDS

_Part = TypeVar("_Part", bound="Registered")


class Registered:
    """Base of frozen dataclasses of plain values (numbers, strings, lists, dictionaries of them)."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def describe(self) -> dict[str, Any]:
        """`{"kind": class name, field: value, ...}`."""
        return {"kind": type(self).__name__, **asdict(self)}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """The inverse of `describe`, without the kind; fields younger than it take their defaults."""
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not needed <= set(values) <= known:
            raise InputError(f"{cls.__name__}: got {sorted(values)}, wanted {sorted(known)}")
        return cls(**values)


def rebuild(description: dict[str, Any], base: type[_Part], package: ModuleType) -> _Part:
    """The part that `describe` described: a subclass of `base` defined in a module of `package`.

    Raises:
        InputError: no such kind, or other fields than it has.
    """
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    kinds = {kind.__name__: kind for kind in _concrete(base)}
    values = dict(description)
    kind = values.pop("kind", None)
    kind = KINDS.get(kind, kind)
    if kind not in kinds:
        raise InputError(f"{base.__name__}: got kind {kind!r}, wanted one of {', '.join(sorted(kinds))}")
    return kinds[kind].from_values(values)


def _concrete(base: type[_Part]) -> list[type[_Part]]:
    """Every class below `base` that can be made."""
    below = base.__subclasses__()
    deeper = [kind for child in below for kind in _concrete(child)]
    return [kind for kind in below if not inspect.isabstract(kind)] + deeper
