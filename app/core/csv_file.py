"""CSV files: UTF-8, LF line ends on every system, a header, and an empty cell for None."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.core.errors import InputError
from app.core.files import write_text


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], *, header: Sequence[str] = ()) -> None:
    """Write the rows as a CSV file, atomically; see `csv_text`."""
    write_text(path, csv_text(rows, header=header))


def csv_text(rows: Sequence[Mapping[str, object]], *, header: Sequence[str] = ()) -> str:
    """Return the rows as CSV text; `header` is used only if there are no rows.

    The columns are all keys of the rows, in the order in which they first occur.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row)) or list(header)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_csv(path: Path, *, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a file with a header; missing cells of short rows are empty.

    Raises:
        InputError: the file is missing, or one of `columns` is not in its header.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            absent = [name for name in columns if name not in (reader.fieldnames or ())]
            if absent:
                raise InputError(f"{path}: no column {', '.join(absent)}; the header is {reader.fieldnames}")
            return list(reader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def six_digits(value: float | None) -> str | None:
    """Return a number as text with six significant digits."""
    return None if value is None else f"{value:.6g}"
