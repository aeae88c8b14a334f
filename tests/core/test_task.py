import pytest

from app.core.errors import InputError
from app.core.task import GroupRule


def test_neighbouring_numbers_are_one_group() -> None:
    rule = GroupRule(r"(\d+)$", 2)
    assert rule.key("hippocampus_001") == rule.key("hippocampus_002")
    assert rule.key("hippocampus_002") != rule.key("hippocampus_003")


def test_captured_text_is_the_group() -> None:
    rule = GroupRule(r"^(patient\d+)_", None)
    assert rule.key("patient7_scan1") == rule.key("patient7_scan2") == "patient7"


def test_patterns_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match="captures nothing in case id 'abc'"):
        GroupRule(r"(\d+)", None).key("abc")
    with pytest.raises(InputError, match="needs a number"):
        GroupRule(r"^(\w+)$", 2).key("abc")
