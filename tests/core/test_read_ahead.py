"""The next item is read while one is worked on, in order; an error is raised with its own item."""

from threading import Event

import pytest

from app.core.errors import InputError
from app.core.read_ahead import read_ahead


def test_the_next_item_is_read_while_one_is_worked_on() -> None:
    begun = {name: Event() for name in "abc"}

    def read(name: str) -> str:
        begun[name].set()
        return name.upper()

    found = []
    for name, result in read_ahead("abc", read):
        found.append((name, result()))
        following = chr(ord(name) + 1)
        assert following not in begun or begun[following].wait(30)
    assert found == [("a", "A"), ("b", "B"), ("c", "C")]
    assert list(read_ahead("", read)) == []


def test_without_reading_ahead_an_item_is_read_when_it_is_wanted() -> None:
    begun: list[str] = []
    for name, result in read_ahead("ab", begun.append, ahead=False):
        assert name not in begun
        result()
        assert begun[-1] == name


@pytest.mark.parametrize("ahead", [True, False])
def test_an_error_stops_its_own_item_alone(ahead: bool) -> None:
    def read(name: str) -> str:
        if name == "b":
            raise InputError("b: damaged")
        return name

    found = []
    for name, result in read_ahead("abc", read, ahead=ahead):
        if name == "b":
            with pytest.raises(InputError, match="b: damaged"):
                result()
        else:
            found.append(result())
    assert found == ["a", "c"]
