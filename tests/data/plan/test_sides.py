from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InputError
from app.core.task import Case, Task
from app.core.types import Spacing
from app.data.plan.sides import mirrored_values, plan_mirror

LEFT, RIGHT, AHEAD = (0.0, 0.0, -30.0), (0.0, 0.0, 30.0), (0.0, 40.0, 25.0)


def task(*labels: str) -> Task:
    return Task("Task", ("CT",), ("background", *labels), (Case("a", Path("a.nii"), None),))


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (("left kidney", "right kidney", "liver"), (0, 2, 1, 3)),
        (("Lung_R", "Lung_L"), (0, 2, 1)),
        (("r_eye", "l_eye"), (0, 2, 1)),
        (("Left-Thalamus", "Right-Thalamus"), (0, 2, 1)),
        (("leftKidney", "rightKidney"), (0, 2, 1)),
        (("Niere_links", "Niere_rechts"), (0, 2, 1)),
        (("rein droite", "rein gauche"), (0, 2, 1)),
        (("lh cortex", "rh cortex"), (0, 2, 1)),
        (("RV", "myocardium", "LV"), (0, 1, 2, 3)),
        (("left atrium", "tumour"), (0, 1, 2)),
        (("leftover", "rightover"), (0, 1, 2)),
    ],
)
def test_sides_are_told_from_names(labels: tuple[str, ...], values: tuple[int, ...]) -> None:
    assert mirrored_values(("background", *labels)) == values


@pytest.mark.parametrize("given", [[[1, 9]], [1, 2], [[1, 2], [2, 3]], [[0, 1]], [["left", "right"]]])
def test_pairs_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(InputError, match=r"plan\.mirror"):
        plan_mirror(task("a", "b", "c"), (None,) * 3, given)


def test_two_spellings_of_one_side_are_not_swapped() -> None:
    names = ("left kidney", "Left_Kidney", "right kidney")
    found, _ = plan_mirror(task(*names), (None,) * 3, None)
    assert sorted(found) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("labels", "centres", "given", "mirror"),
    [
        (("left kidney", "right kidney"), (LEFT, RIGHT), None, (0, 2, 1)),
        (("left kidney", "right kidney"), (LEFT, None), None, (0, 2, 1)),
        (("left ventricle", "right ventricle"), (LEFT, AHEAD), None, ()),
        (("liver", "spleen"), (LEFT, RIGHT), None, (0, 1, 2)),
        (("left kidney", "right kidney"), (LEFT, RIGHT), False, ()),
        (("left kidney", "right kidney"), (LEFT, RIGHT), True, (0, 1, 2)),
        (("liver", "spleen"), (LEFT, RIGHT), ((1, 2),), (0, 2, 1)),
    ],
)
def test_mirror_images_swap_sides_that_lie_opposite_each_other(
    labels: tuple[str, ...],
    centres: tuple[Spacing | None, ...],
    given: bool | tuple[tuple[int, int], ...] | None,
    mirror: tuple[int, ...],
) -> None:
    found, reason = plan_mirror(task(*labels), centres, given)
    assert found == mirror
    assert ("plan.mirror" in reason) == (given is not None)


def test_given_pairs_are_label_values_of_files_not_classes() -> None:
    gaps = replace(task("a", "b", "c"), values=(0, 1, 3, 4))
    found, _ = plan_mirror(gaps, (None,) * 3, ((1, 3),))
    assert found == (0, 2, 1, 3)
    with pytest.raises(InputError, match="1, 3"):
        plan_mirror(gaps, (None,) * 3, ((1, 2),))


def test_nothing_is_mirrored_if_one_side_is_ignored() -> None:
    names = ("left kidney", "liver", "right kidney")
    found, reason = plan_mirror(replace(task(*names), ignore=3), (LEFT, None), None)
    assert found == () and "left kidney is ignored" in reason
    found, _ = plan_mirror(replace(task("left kidney", "right kidney", "rim"), ignore=3), (LEFT, RIGHT), None)
    assert found == (0, 2, 1, 3)
