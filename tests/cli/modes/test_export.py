"""The settings of mode=export are read by their types."""

import pytest

from app.cli.modes.export import run
from app.core.errors import InputError
from tests.support.config import composed


@pytest.mark.parametrize(("value", "wanted"), [("abc", "a whole number or null"), ("0", "at least 1")])
def test_a_wrong_number_of_cases_is_named(value: str, wanted: str) -> None:
    with pytest.raises(InputError, match=rf"export\.cases: got .*{value}.*, wanted {wanted}"):
        run(composed("mode=export", "export.model=nowhere", "export.format=int8", f"export.cases={value}"))
