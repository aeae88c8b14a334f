"""The file check.csv as a page that shows the cases with the worst findings first."""

from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.core.csv_file import read_csv
from app.core.files import write_text

_WORST_FIRST = ("error", "warning", "note", "ok")
_HIDDEN = ("kinds",)


def write_check_page(table: Path, output: Path, *, name: str) -> None:
    """Write one self-contained HTML page; all text from files is escaped."""
    rows = read_csv(table)
    columns = [column for column in rows[0] if column not in _HIDDEN]
    cases = [row for row in rows if row["case"] != "(all)"]
    counts = Counter(row["status"] for row in cases)
    shown = [
        {**row, "findings": row["findings"].split(" | ") if row["findings"] else []}
        for row in sorted(rows, key=lambda row: _WORST_FIRST.index(row["status"]))
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("check.html").render(
        name=name,
        columns=columns,
        rows=shown,
        total=len(cases),
        counts={status: counts[status] for status in _WORST_FIRST if counts[status]},
    )
    write_text(output, page)
