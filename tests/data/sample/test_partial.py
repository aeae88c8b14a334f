from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import InputError
from app.core.task import Case, Task
from app.data.prepare.cached_case import CachedCase
from app.data.sample.partial import partial_labels
from app.data.sample.patches import PatchSampler

LABELS = ("background", "left kidney", "right kidney", "liver")


def task(*annotated: tuple[int, ...] | None) -> Task:
    cases = (Case(str(number), Path("i"), Path("l"), known) for number, known in enumerate(annotated))
    return Task("Task", ("CT",), LABELS, tuple(cases))


def test_background_of_a_case_stands_for_what_it_does_not_annotate() -> None:
    found = partial_labels(task(None, (1, 3), (1, 2, 3), (3,), (1, 3)))
    assert found.sets == ((0, 2), (0, 1, 2), (0, 1)) and found.first == 4
    assert found.codes == {"1": 4, "3": 5, "4": 4}


def test_sets_change_places_as_the_sides_of_the_body_do() -> None:
    found = partial_labels(task((1, 3), (3,)))
    assert found.swapped((0, 2, 1, 3)) == (0, 2, 1, 3, 6, 5, 4)  # (0, 2), (0, 1, 2), (0, 1)
    assert found.swapped(()) == ()
    with pytest.raises(InputError, match=r"plan\.mirror"):
        found.swapped((0, 3, 2, 1))


@pytest.mark.parametrize(("labels", "most"), [(250, 6), (256, 0), (257, 32511), (300, 32468)])
def test_sets_share_the_values_of_voxels_with_the_labels(labels: int, most: int) -> None:
    names = ("background", *(f"a{number}" for number in range(1, labels)))
    whole = replace(task(None, None), labels=names)
    assert partial_labels(whole).sets == ()
    some = replace(task(*((number,) for number in range(1, 8))), labels=names)
    if most < 7:
        with pytest.raises(InputError, match=f"got 7 .* at most {most}$"):
            partial_labels(some)
    else:
        assert partial_labels(some).first == labels and len(partial_labels(some).sets) == 7


def test_targets_of_a_case_are_those_it_annotates() -> None:
    known = task((1, 3))
    assert known.targets_in(known.cases[0]) == {"left kidney": (1,), "liver": (3,)}
    merged = replace(known, regions={"kidneys": (1, 2), "all": (1, 2, 3), "liver": (3,), "left": (1,)})
    assert set(merged.targets_in(merged.cases[0])) == {"liver", "left"}


def test_patches_of_such_a_case_have_the_value_in_place_of_background(tmp_path: Path) -> None:
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    labels[1, 1, 1] = 3
    for name, values in (("image", np.zeros((1, 4, 4, 4), np.float32)), ("labels", labels[None])):
        np.save(tmp_path / f"{name}.npy", values)
    np.save(tmp_path / "foreground.npy", np.array([[3, 1, 1, 1]], dtype=np.int32))
    case = CachedCase("a", tmp_path)
    shape = {"size": (4, 4, 4), "margin": (4, 4, 4), "batch": 1, "foreground_share": 0.0, "seed": 0}
    (drawn,) = PatchSampler([case], **shape, codes={"a": 5}).draw(0).labels  # type: ignore[arg-type]
    assert (drawn == np.where(labels == 0, 5, labels)).all()
    assert case.labels().whole(np.uint8)[0, 0, 0, 0] == 0
