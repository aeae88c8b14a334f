"""Values of a wrong type: what a setting wants instead, in words, from the type of its field or argument."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from app.core.errors import InputError

_WORDS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "words"),
    bool: ("true or false", "values true or false"),
    NoneType: ("null", ""),
}
"""The words for one value of a type, and for several."""
_LISTS = (list, tuple, Sequence)


def wrong_type(name: str, value: Any, hint: Any) -> str | None:
    """Return the message about a value that does not fit a type; None if the type has no words."""
    members = _members(hint)
    words = [_word(member) for member in members if not (member is int and float in members)]
    if None in words:
        return None
    return f"{name}: got {_written(value)}, wanted {' or '.join(filter(None, words))}"


def hint_of(cls: type, key: str) -> Any:
    """Return the type of a key such as `steps`, `limits.macs` or `spacing[0]` of a settings class."""
    name, *inside = key.replace("[", ".[").split(".")
    hint: Any = get_type_hints(cls).get(name, Any)
    for part in inside:
        types: tuple[Any, ...] = next(filter(None, map(get_args, _members(hint))), (Any,))
        hint = types[0 if part.startswith("[") else -1]
    return hint


def check_arguments(make: Callable[..., Any], values: Mapping[str, Any], where: str) -> None:
    """Raise an InputError for an argument of the wrong type, if its type in `make` is of simple values.

    Tensors are left out, because no value of a configuration is one.
    """
    from torch import Tensor  # here, because help and refused commands start without PyTorch

    try:
        hints = get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except (NameError, TypeError):
        return  # another library, whose types are not known at run time
    for key, value in values.items():
        members = tuple(member for member in _members(hints.get(key, Any)) if member is not Tensor)
        if not _fits(value, members):
            raise InputError(wrong_type(f"{where}.{key}", value, Union[members]))  # noqa: UP007


def _fits(value: Any, members: Sequence[Any]) -> bool:
    """Return whether a value read from YAML may be of one of the types; unknown types take any value."""
    lists = [member for member in members if (get_origin(member) or member) in _LISTS]
    known = {int, float, bool, NoneType, *lists}
    if value is None or not members or not known.issuperset(members):
        return True
    if isinstance(value, list):
        return bool(lists)
    if isinstance(value, float):
        return float in members or (int in members and value.is_integer())
    return isinstance(value, int) and bool({int, float, bool} & set(members))


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _word(hint: Any) -> str | None:
    """Return the word for a type; None if it has none."""
    origin, inside = get_origin(hint) or hint, get_args(hint)
    if origin in (dict, Mapping):
        return "values by name, such as {name: value}"
    if origin not in _LISTS:
        return _WORDS[origin][0] if origin in _WORDS else None
    several = _WORDS[inside[0]][1] if inside and inside[0] in _WORDS else None
    if several is None:
        return "a list"
    count = f"{len(inside)} " if origin is tuple and ... not in inside else ""
    return f"a list of {count}{several}"


def _written(value: Any) -> str:
    """Return a value as a user writes it in YAML, with quotes around text."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)
