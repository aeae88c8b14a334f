import re
from dataclasses import replace
from typing import Any

import pytest

from app.core.errors import InputError
from app.core.task import GroupRule, Task


def test_neighbouring_numbers_are_one_group() -> None:
    rule = GroupRule(r"(\d+)$", 2)
    assert rule.key("hippocampus_001") == rule.key("hippocampus_002")
    assert rule.key("hippocampus_002") != rule.key("hippocampus_003")


def test_captured_text_is_the_group() -> None:
    rule = GroupRule(r"^(patient\d+)_", None)
    assert rule.key("patient7_scan1") == rule.key("patient7_scan2") == "patient7"


@pytest.mark.parametrize(
    ("pattern", "block", "key"),
    [
        (r"(\d+)", None, "task.group.pattern"),
        (r"^(\w+)$", 2, "task.group.block"),
        (r"^(p\d+_)?\w+$", None, "task.group.pattern"),
    ],
)
def test_patterns_that_do_not_fit_are_named(pattern: str, block: int | None, key: str) -> None:
    with pytest.raises(InputError, match=re.escape(key)) as error:
        GroupRule(pattern, block).key("abc")
    for token in ("'abc'", repr(pattern)):
        assert token in str(error.value)


def test_impossible_group_rules_are_named() -> None:
    with pytest.raises(InputError, match=r"task\.group\.pattern") as error:
        GroupRule("(", None)
    assert "'('" in str(error.value)
    with pytest.raises(InputError, match=r"task\.group\.block") as error:
        GroupRule(r"(\d+)", 0)
    assert re.search(r"\b0\b", str(error.value))


BRAIN = Task("brain", ("FLAIR",), ("background", "edema", "core", "enhancing"), ())


def test_targets_are_the_labels_unless_there_are_regions() -> None:
    assert BRAIN.targets == {"edema": (1,), "core": (2,), "enhancing": (3,)}
    regions = {"whole": (1, 2, 3), "tumour": (2, 3), "enhancing": (3,)}
    assert replace(BRAIN, regions=regions).targets == regions


def test_the_ignored_label_is_neither_predicted_nor_scored() -> None:
    task = replace(BRAIN, ignore=3)
    assert task.segmented == ("background", "edema", "core") and task.foreground == ("edema", "core")
    assert task.targets == {"edema": (1,), "core": (2,)} and len(task.labels) == 4


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"ignore": 1}, [r"task\.ignore", r"\b1\b", r"\b3\b"]),  # the value given, the last one
        ({"regions": {"whole": (1, 4)}}, [r"task\.regions", "whole", r"\[1, 4\]", r"\[1, 2, 3\]"]),
        (
            {"regions": {"whole": (1, 2, 3)}},
            [r"task\.regions", "whole", r"\b1\b", r"\b2\b", r"^[^\[]*$"],  # two values, not a list
        ),
        ({"regions": {"a": (1,), "b": (2,)}}, [r"task\.regions", r"\b0\b", r"\b3\b"]),
        (
            {"ignore": 3, "regions": {"whole": (1, 2, 3), "core": (2,)}},
            [r"task\.regions", "whole", r"\[1, 2, 3\]", r"\[1, 2\]"],
        ),
    ],
)
def test_regions_that_cannot_be_told_apart_are_refused(changes: dict[str, Any], tokens: list[str]) -> None:
    with pytest.raises(InputError) as error:
        replace(BRAIN, **changes).check_distinguishable()
    for token in tokens:
        assert re.search(token, str(error.value))


def test_labels_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="'lesion' for the values 1 and 3"):
        Task("T", ("CT",), ("background", "lesion", "organ", "lesion"), ())
    with pytest.raises(InputError, match="'mean'"):
        Task("T", ("CT",), ("background", "mean"), ())
