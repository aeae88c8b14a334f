from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.files import read_json
from app.metrics.results import read_columns, write_scores
from app.metrics.score import Score


def test_columns_that_divide_cases(tmp_path: Path) -> None:
    path = tmp_path / "sites.csv"
    path.write_text("case,site,age\na,north,40\nb,,41\n")
    assert read_columns(path) == {"site": {"a": "north"}, "age": {"a": "40", "b": "41"}}
    path.write_text("case,site\na,north\na,south\n")
    with pytest.raises(InputError, match=r"a twice"):
        read_columns(path)
    path.write_text("case,age\n" + "".join(f"{n},{n}\n" for n in range(13)))
    with pytest.raises(InputError, match=r"age.*13"):
        read_columns(path)
    for text in ("case\na\n", "case,site\n", "case,site\n,north\n", "case,site\na,north\n a ,north\n"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"sites\.csv"):
            read_columns(path)


def test_voxels_outside_the_region_are_added_up(tmp_path: Path) -> None:
    scores = [
        Score("a", "one", {"dice": 0.5}, 1, 1, None, 3),
        Score("a", "two", {"dice": 0.7}, 1, 1, None, 4),
        Score("b", "one", {"dice": 0.7}, 1, 1, None, 0),
    ]
    summary = write_scores(tmp_path, scores, {})
    assert summary["outside_region_voxels"] == 7
    assert summary["mean_dice"] == pytest.approx((0.6 + 0.7) / 2)
    assert read_json(tmp_path / "statistics.json")["labels"]["two"]["metrics"]["dice"]["n"] == 1
