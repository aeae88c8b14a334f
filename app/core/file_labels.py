"""The labels that files of a data set have, where a task merges, selects or orders them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FileLabels:
    """Names and rising values of the labels in files, background first, and what becomes of each."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    classes: tuple[int, ...]
    """The class of the task that each label belongs to; 0 for background and labels that are left out."""

    def values_of(self, label: int) -> tuple[int, ...]:
        """The values in files that belong to a class."""
        return tuple(value for value, found in zip(self.values, self.classes, strict=True) if found == label)

    def to_dict(self) -> dict[str, list[Any]]:
        """Plain lists."""
        return {"names": list(self.names), "values": list(self.values), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "FileLabels | None":
        """The inverse of `to_dict`; None where nothing is recorded."""
        if values is None:
            return None
        return cls(*(tuple(values[name]) for name in ("names", "values", "classes")))
