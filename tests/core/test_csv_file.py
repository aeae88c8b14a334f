"""CSV files as spreadsheets of several countries and systems write them, and as this program does."""

from pathlib import Path

import pytest

from app.core.csv_file import read_csv, write_csv
from app.core.errors import InputError

ROWS = [{"case": "a", "site": "north, bay"}, {"case": "b", "site": 'the "old"\nhospital'}]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    assert read_csv(tmp_path / "a.csv", columns=("case",)) == ROWS


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_marks_and_line_ends(tmp_path: Path, separator: str, encoding: str, end: str) -> None:
    lines = (("case", " site"), ("a", "Köln"), ("", ""), ("b",), ("c", "Genf", ""))
    text = end.join(separator.join(cells) for cells in lines)
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    wanted = [("a", "Köln"), ("b", ""), ("c", "Genf")]
    assert [(row["case"], row["site"]) for row in read_csv(tmp_path / "a.csv")] == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,site\na,b\n", "no column case"),
        ("", "no column case"),
        ("case,site,site\na,b,c\n", "site"),
        ("case,site\na,b,c\n", "line 2.*3 cells"),
        ('case,site\na,"b\nc,d\n', "line"),
        ('case,site\na,"b"c\n', "line 2"),
        ("case,site\na," + 200_000 * "b", "line 2"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=rf"a\.csv: .*{said}") as error:
        read_csv(tmp_path / "a.csv", columns=("case",))
    assert "\n" not in str(error.value)
