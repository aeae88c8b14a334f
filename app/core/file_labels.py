"""The labels in the files of a data set whose task merges, selects or reorders them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FileLabels:
    """The labels in files, background first: their names, rising values and classes in the task."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    classes: tuple[int, ...]
    """The task's class for each label; 0 for background and for labels that are left out."""

    def values_of(self, label: int) -> tuple[int, ...]:
        """Return the values in files that belong to a class."""
        return tuple(value for value, found in zip(self.values, self.classes, strict=True) if found == label)

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the fields as plain lists."""
        return {"names": list(self.names), "values": list(self.values), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "FileLabels | None":
        """Rebuild the labels from `to_dict`; return None for None."""
        if values is None:
            return None
        return cls(*(tuple(values[name]) for name in ("names", "values", "classes")))


def recorded_labels(split: Mapping[str, Any], case: str) -> FileLabels | None:
    """Return the labels in the reference of a case by split.json; None if they are the task's."""
    entry = (split.get("files") or {}).get(case) or {}
    return FileLabels.from_dict(entry.get("file_labels") or split.get("file_labels"))
