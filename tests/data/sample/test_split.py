import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.task import Case, GroupRule
from app.data.sample.split import Folds, split_cases
from app.data.sample.split_names import Names, folds_in, names_in, read_split_file
from app.data.sample.stratified import stratified_folds

NNUNET = ["case_004", "case_009", "case_011", "case_018", "case_020"]
CASES = tuple(Case(f"case_{number:03d}", Path("i"), Path("l")) for number in range(1, 24))


def test_folds_share_out_all_cases_once() -> None:
    held_out: list[str] = []
    for fold in range(5):
        split = split_cases(CASES, Folds(fold, 5, 1, None))
        assert set(split.training).isdisjoint(split.validation)
        assert len(split.training) + len(split.validation) == 23
        held_out += [case.id for case in split.validation]
    assert sorted(held_out) == [case.id for case in CASES]


def test_groups_are_never_torn_apart() -> None:
    rule = GroupRule(r"(\d+)$", 2)
    for fold in range(5):
        split = split_cases(CASES, Folds(fold, 5, 1, rule))
        keys = [{rule.key(case.id) for case in cases} for cases in (split.training, split.validation)]
        assert keys[0].isdisjoint(keys[1]) and split.validation


def test_seed_decides() -> None:
    first, again, other = (split_cases(CASES, Folds(0, 5, s)) for s in (1, 1, 2))
    assert first == again != other


def test_impossible_folds_are_named() -> None:
    for cases, fold, tokens in (
        (CASES, 5, ("fold", "5", "4")),  # given, and the last there is
        (CASES[:3], 0, ("folds", "3", "5", "folds=3", "fold=none")),  # groups, and folds wanted
    ):
        with pytest.raises(InputError) as error:
            split_cases(cases, Folds(fold, 5, 1))
        for token in tokens:
            assert re.search(rf"\b{token}\b", str(error.value))


def test_cases_that_hold_the_same_scan_are_on_one_side() -> None:
    rule = GroupRule(r"(\d+)$", 2)
    for fold in range(5):
        split = split_cases(CASES, Folds(fold, 5, 1, rule), duplicates=[["case_001", "case_009"]])
        held_out = {case.id for case in split.validation}
        assert len(held_out & {"case_001", "case_002", "case_009", "case_010"}) in (0, 4)


def ids(cases: Sequence[Case]) -> list[str]:
    return [case.id for case in cases]


def test_no_fold_trains_on_all_cases() -> None:
    split = split_cases(CASES, Folds(None, 5, 1), test=CASES[:2])
    assert (split.fold, split.training, split.validation, split.test) == (None, CASES, (), CASES[:2])
    with pytest.raises(InputError, match="fold=none"):
        split_cases(CASES, Folds(0, 1, 1))
    with pytest.raises(InputError, match="fold=none"):
        split_cases(CASES[:1], Folds(0, 5, 1))


def test_folds_of_nnunet_and_a_warning_of_torn_groups(caplog: pytest.LogCaptureFixture) -> None:
    """As sklearn.model_selection.KFold(5, shuffle=True, random_state=12345) on 23 sorted ids."""
    how = Folds(0, 5, 1, GroupRule(r"(\d+)$", 2), rule="nnunet")
    split = split_cases(tuple(reversed(CASES)), how)
    assert sorted(ids(split.validation)) == NNUNET
    assert "held-out scores are too good" in caplog.text and "groups" in caplog.text


def test_stratified_folds_spread_rare_labels_and_sizes() -> None:
    volumes = {case.id: (float(number), 5.0 * (number % 4 == 0)) for number, case in enumerate(CASES)}
    found = [split_cases(CASES, Folds(f, 3, 1, stratify=True), volumes=volumes) for f in range(3)]
    assert sorted(len(split.validation) for split in found) == [7, 8, 8]
    assert [sum(volumes[case.id][1] > 0 for case in split.validation) for split in found] == [2, 2, 2]
    sizes = [sum(volumes[case.id][0] for case in split.validation) / len(split.validation) for split in found]
    assert max(sizes) - min(sizes) < 2  # of a mean of 11
    assert sorted(name for split in found for name in ids(split.validation)) == ids(CASES)


def test_groups_are_stratified_as_one() -> None:
    """The rarer label 2 comes first: a begins a fold, b the other, c joins the one of fewer cases."""
    keys = {"a1": "a", "a2": "a", "b": "b", "c": "c", "d": "d"}
    volumes = {"a1": (1.0, 5.0), "a2": (1.0, 0.0), "b": (1.0, 3.0), "c": (10.0, 0.0), "d": (2.0, 0.0)}
    assert stratified_folds(keys, volumes, folds=2, seed=0) == [{"a", "d"}, {"b", "c"}]


def test_own_splits_by_case_and_by_group(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rule = GroupRule(r"(\d)\d$", None)  # groups 0, 1, 2: by tens
    (tmp_path / "s.csv").write_text("group,split\n0,train\n1,val\n2,test\n")
    names = read_split_file(tmp_path / "s.csv", 0)
    assert names == Names(("0",), ("1",), ("2",))
    split = split_cases(CASES[:19], Folds(0, 5, 1, rule, names=names), test=CASES[19:])
    assert (ids(split.training)[-1], ids(split.validation)[0]) == ("case_009", "case_010")
    assert not caplog.text
    torn = Names(("case_001",), ("case_002",))
    split_cases(CASES, Folds(0, 5, 1, rule, names=torn))
    assert "too good" in caplog.text
    with pytest.raises(InputError, match="did you mean case_002") as error:
        split_cases(CASES, Folds(0, 5, 1, names=Names(("case_001",), ("caes_002",))))
    assert "split.file" in str(error.value)


def test_files_of_folds(tmp_path: Path) -> None:
    folds = [{"train": ["case_001"], "val": ["case_002"]}, {"train": ["case_002"], "val": ["case_001"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    assert read_split_file(tmp_path / "splits_final.json", 1) == Names(("case_002",), ("case_001",))
    with pytest.raises(InputError, match=r"fold: got 2"):
        read_split_file(tmp_path / "splits_final.json", 2)
    (tmp_path / "s.csv").write_text("case,fold\na,0\nb,1\nc,test\n")
    assert read_split_file(tmp_path / "s.csv", 1) == Names(("a",), ("b",), ("c",))
    wrong = (
        "case,fold\na,first\n",
        "case,fold\na,²\n",
        "id,fold\na,0\n",
        "{}",
        '{"train": 5}',
        '{"train": "ab"}',
    )
    for text in wrong:
        name = "s.json" if text[0] == "{" else "s.csv"
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"split\.file"):
            read_split_file(tmp_path / name, 0)
    (tmp_path / "s.txt").write_text("# doubtful\ncase_004\n\n")
    assert names_in(str(tmp_path / "s.txt"), "split.exclude") == ("case_004",) == names_in(["case_004"], "")


@pytest.mark.parametrize(
    ("name", "text", "folds"),
    [
        ("s.json", json.dumps([{"train": ["a"], "val": ["b"]}] * 3), [0, 1, 2]),
        ("s.csv", "case,fold\na,1\nb,2\nc,10\nd,test\n", [1, 2, 10]),
        ("s.json", '{"train": ["a"], "val": ["b"]}', None),
        ("s.csv", "case,split,fold\na,train,0\nb,val,1\n", None),
    ],
)
def test_the_folds_of_a_file_are_counted_and_one_split_has_none(
    name: str, text: str, folds: list[int] | None, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    if folds is not None:
        assert folds_in(path) == folds
        return
    assert read_split_file(path, 0) == Names(("a",), ("b",))
    with pytest.raises(InputError, match="fold: got 1"):
        read_split_file(path, 1)
    with pytest.raises(InputError, match="fold: got all"):
        folds_in(path)
