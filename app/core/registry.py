"""Parts of a network that a checkpoint describes as plain values, from which they are rebuilt.

A description is data: its `kind` is looked up among the classes of one package of this program. It cannot
name a class to import from elsewhere.
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
    """A base class of frozen dataclasses with plain values (numbers, strings, lists and dicts of them)."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def describe(self) -> dict[str, Any]:
        """Return `{"kind": class name, field: value, ...}`."""
        return {"kind": type(self).__name__, **asdict(self)}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Build the part from the fields of `describe`; missing fields with a default take it.

        Raises:
            InputError: a field without default is missing, or a name is unknown.
        """
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not needed <= set(values) <= known:
            raise InputError(f"{cls.__name__}: got {sorted(values)}, wanted {sorted(known)}")
        return cls(**values)


def rebuild(description: dict[str, Any], base: type[_Part], package: ModuleType) -> _Part:
    """Rebuild a part from `describe`: a subclass of `base` defined in a module of `package`.

    Raises:
        InputError: the kind is unknown, or the fields do not match it.
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
    """Return every subclass of `base`, direct or indirect, that is not abstract."""
    below = base.__subclasses__()
    deeper = [kind for child in below for kind in _concrete(child)]
    return [kind for kind in below if not inspect.isabstract(kind)] + deeper
