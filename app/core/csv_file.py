"""CSV files: UTF-8, LF line ends on every system, a header, and an empty cell for None."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from app.core.errors import InputError
from app.core.files import read_text, write_text

_SEPARATORS = ",;\t"


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
    """Read a file with a header; missing cells of short rows are empty, and empty rows are left out.

    Cells are separated by commas or, as spreadsheets write in some countries, by semicolons or tabs.

    Raises:
        InputError: the file is missing, is not text in UTF-8, has unpaired quotes, a column twice or a row
            with more cells than the header, or one of `columns` is not in the header.
    """
    text = read_text(path)
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header, columns)
        rows = []
        for cells in reader:
            if any(cells[len(header) :]):
                raise InputError(
                    f"{path}: line {reader.line_num}: got {len(cells)} cells, wanted {len(header)} as in the "
                    "header; put quotes around a cell that contains the separator"
                )
            if any(cells):
                rows.append(dict(zip_longest(header, cells[: len(header)], fillvalue="")))
        return rows
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: not valid CSV ({error})") from None


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    absent = [name for name in columns if name not in header]
    if absent:
        raise InputError(f"{path}: no column {', '.join(absent)}; the header is {', '.join(header)!r}")
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise InputError(f"{path}: got the column {twice[0]} twice, wanted each name once")


def six_digits(value: float | None) -> str | None:
    """Return a number as text with six significant digits."""
    return None if value is None else f"{value:.6g}"
