import re
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.task import Case, GroupRule
from app.data.sample.split import split_cases

CASES = tuple(Case(f"case_{number:03d}", Path("i"), Path("l")) for number in range(1, 24))


def test_folds_share_out_all_cases_once() -> None:
    held_out: list[str] = []
    for fold in range(5):
        split = split_cases(CASES, fold=fold, folds=5, seed=1, group=None)
        assert set(split.training).isdisjoint(split.validation)
        assert len(split.training) + len(split.validation) == 23
        held_out += [case.id for case in split.validation]
    assert sorted(held_out) == [case.id for case in CASES]


def test_groups_are_never_torn_apart() -> None:
    rule = GroupRule(r"(\d+)$", 2)
    for fold in range(5):
        split = split_cases(CASES, fold=fold, folds=5, seed=1, group=rule)
        keys = [{rule.key(case.id) for case in cases} for cases in (split.training, split.validation)]
        assert keys[0].isdisjoint(keys[1]) and split.validation


def test_seed_decides() -> None:
    first, again, other = (split_cases(CASES, fold=0, folds=5, seed=s, group=None) for s in (1, 1, 2))
    assert first == again != other


def test_impossible_folds_are_named() -> None:
    for cases, fold, tokens in (
        (CASES, 5, ("fold", "5", "4")),  # given, and the last there is
        (CASES[:3], 0, ("folds", "3", "5")),  # groups, and folds wanted
    ):
        with pytest.raises(InputError) as error:
            split_cases(cases, fold=fold, folds=5, seed=1, group=None)
        for token in tokens:
            assert re.search(rf"\b{token}\b", str(error.value))


def test_cases_that_hold_the_same_scan_are_on_one_side() -> None:
    rule = GroupRule(r"(\d+)$", 2)
    for fold in range(5):
        split = split_cases(CASES, fold=fold, folds=5, seed=1, group=rule, twins=[["case_001", "case_009"]])
        held_out = {case.id for case in split.validation}
        assert len(held_out & {"case_001", "case_002", "case_009", "case_010"}) in (0, 4)
