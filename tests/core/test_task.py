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


def test_patterns_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match="captures nothing in case id 'abc'"):
        GroupRule(r"(\d+)", None).key("abc")
    with pytest.raises(InputError, match="needs a number"):
        GroupRule(r"^(\w+)$", 2).key("abc")
    with pytest.raises(InputError, match="captures nothing"):
        GroupRule(r"^(p\d+_)?\w+$", None).key("abc")
    with pytest.raises(InputError, match=r"task\.group\.pattern: '\(' is no regular expression"):
        GroupRule("(", None)
    with pytest.raises(InputError, match=r"task\.group\.block: got 0"):
        GroupRule(r"(\d+)", 0)


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
    ("changes", "message"),
    [
        ({"ignore": 1}, "task.ignore: got label value 1, wanted the last, 3"),
        ({"regions": {"whole": (1, 4)}}, r"whole: got \[1, 4\], wanted label values \[1, 2, 3\]"),
        ({"regions": {"whole": (1, 2, 3)}}, "label values 1 and 2 are both in whole alone"),
        ({"regions": {"a": (1,), "b": (2,)}}, "label values 0 and 3 are both in no region alone"),
        ({"ignore": 3, "regions": {"whole": (1, 2, 3), "core": (2,)}}, r"wanted label values \[1, 2\]"),
    ],
)
def test_regions_that_cannot_be_told_apart_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(BRAIN, **changes)
