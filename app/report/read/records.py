"""The small files of a run folder as plain values; a missing file or undefined number is None."""

import math
from pathlib import Path
from typing import Any

from app.core.csv_file import read_csv
from app.core.errors import InputError
from app.core.files import read_json, read_yaml

Mapping = dict[str, Any]
CsvRow = dict[str, str]


def read_mapping(path: Path) -> Mapping | None:
    """Read a JSON or YAML file whose top level is a mapping.

    Raises:
        InputError: the file cannot be parsed or is not a mapping.
    """
    if not path.is_file():
        return None
    value = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds a {type(value).__name__}, wanted a mapping of names to values")
    return {str(key): item for key, item in value.items()}


def read_rows(path: Path, *, columns: tuple[str, ...]) -> list[CsvRow] | None:
    """Read a CSV file as `read_csv` does.

    Raises:
        InputError: one of `columns` is not in the header.
    """
    return read_csv(path, columns=columns) if path.is_file() else None


def number(value: Any, *, where: str) -> float | None:
    """Return a finite number, or None if the cell is empty, null or not finite.

    Raises:
        InputError: the value is not a number; the message begins with `where`.
    """
    if value is None or value == "":
        return None
    try:
        parsed = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: got {value!r}, wanted a number or an empty cell") from None
    return parsed if math.isfinite(parsed) else None


def numbers(value: Any, *, where: str) -> dict[str, float | None]:
    """Return a mapping of names to numbers; None counts as empty."""
    if not isinstance(value or {}, dict):
        raise InputError(f"{where}: got {value!r}, wanted a mapping of names to numbers")
    return {str(key): number(item, where=f"{where}.{key}") for key, item in (value or {}).items()}
