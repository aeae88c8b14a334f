from dataclasses import replace
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.task import Case, Task
from app.data.sets.joined import joined
from app.data.sets.relabel import relabelled


def task(name: str, labels: dict[str, int], *cases: str, modality: str = "CT") -> Task:
    values = tuple(labels.values())
    return Task(
        name,
        (modality,),
        tuple(labels),
        tuple(Case(case, Path(name, case), Path(name, f"{case}_label")) for case in cases),
        folders=(Path(name),),
        values=() if values == tuple(range(len(values))) else values,
    )


LIVER = task("Liver", {"background": 0, "liver": 1, "tumour": 2}, "a", "b")
SPLEEN = task("Spleen", {"background": 0, "spleen": 1}, "b", "c")


def test_folders_with_the_same_labels_keep_their_values() -> None:
    odd = {"background": 0, "liver": 6}
    both = joined([task("A", odd, "a"), task("B", odd, "b")])
    assert (both.labels, both.values, both.file_labels) == (("background", "liver"), (0, 6), None)
    assert [(case.id, case.part, case.annotated) for case in both.cases] == [("a", 0, None), ("b", 1, None)]
    assert both.folders == (Path("A"), Path("B")) and len(both.parts) == 2
    assert joined([LIVER]) is LIVER


def test_labels_join_by_name_and_a_case_annotates_those_of_its_folder() -> None:
    both = joined([LIVER, SPLEEN])
    assert both.labels == ("background", "liver", "tumour", "spleen") and both.label_values == (0, 1, 2, 3)
    assert [(case.id, case.grouped_as, case.annotated) for case in both.cases] == [
        ("a", "a", (1, 2)),
        ("b_Liver", "b", (1, 2)),
        ("b_Spleen", "b", (3,)),
        ("c", "c", (3,)),
    ]
    assert both.values_in_files(3, both.cases[2]) == (1,)
    assert both.values_in_files(1, both.cases[0]) == (1,)
    assert [part.file_values for part in both.parts] == [
        {0: "background", 1: "liver", 2: "tumour"},
        {0: "background", 1: "spleen"},
    ]


def test_values_stay_if_no_folder_contradicts_another() -> None:
    both = joined([LIVER, task("Spleen", {"background": 0, "spleen": 7}, "c")])
    assert (both.labels[3], both.label_values) == ("spleen", (0, 1, 2, 7))


def test_joined_labels_can_be_merged_and_selected() -> None:
    chosen = relabelled(joined([LIVER, SPLEEN]), {"organ": ["liver", "tumour"], "spleen": "spleen"}, [])
    assert chosen.labels == ("background", "organ", "spleen")
    assert [case.annotated for case in chosen.cases] == [(1,), (1,), (2,), (2,)]
    assert [chosen.values_in_files(n, chosen.cases[0]) for n in (1, 2)] == [(1, 2), ()]
    assert [chosen.values_in_files(n, chosen.cases[3]) for n in (1, 2)] == [(), (1,)]


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task\.folder.*channels"):
        joined([LIVER, task("Other", {"background": 0, "liver": 1}, "x", modality="PET")])
    with pytest.raises(InputError, match=r"task\.folder.*twice"):
        joined([LIVER, LIVER])
    with pytest.raises(InputError, match=r"task\.folder.*ignored"):
        joined([LIVER, replace(SPLEEN, regions={"all": (1,)})])
