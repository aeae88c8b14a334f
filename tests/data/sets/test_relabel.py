from pathlib import Path

import numpy as np
import pytest

from app.core.errors import InputError
from app.core.task import Case, Task
from app.data.sets.relabel import labels_text, relabelled
from app.io.label_values import as_classes

LABELS = ("background", "core", "rim", "cyst", "artefact", "doubt")
VALUES = (0, 1, 4, 7, 8, 9)


def task(*annotated: tuple[int, ...] | None) -> Task:
    cases = (Case(str(n), Path("i"), Path("l"), known) for n, known in enumerate(annotated or (None,)))
    return Task("Task", ("MR",), LABELS, tuple(cases), values=VALUES)


def test_labels_are_merged_selected_and_ordered_by_value_or_name() -> None:
    found = relabelled(task(), {"cyst": [7], "tumour": [1, "rim"]}, ["artefact", 9])
    assert found.labels == ("background", "cyst", "tumour", "ignored")
    assert (found.label_values, found.segmented[1:], found.ignore) == ((0, 1, 2, 3), ("cyst", "tumour"), 3)
    assert found.file_labels is not None and found.file_labels.classes == (0, 2, 2, 1, 3, 3)
    np.testing.assert_array_equal(
        as_classes(np.arange(6, dtype=np.uint8), found.file_labels.classes), [0, 2, 2, 1, 3, 3]
    )
    assert [found.values_in_files(n) for n in range(4)] == [(0,), (7,), (1, 4), (8, 9)]
    assert found.file_values == dict(zip(VALUES, LABELS, strict=True))


def test_what_is_not_named_is_background_and_said() -> None:
    found = relabelled(task(), {"cyst": 7}, [])
    assert found.labels == ("background", "cyst") and found.ignore is None
    assert found.values_in_files(0) == (0, 1, 4, 8, 9)
    assert "cyst = 7" in labels_text(found) and "1, 4, 8, 9" in labels_text(found)
    assert labels_text(task()) == ""


def test_several_ignored_labels_leave_the_others_their_values() -> None:
    found = relabelled(task(), None, ["cyst", 9])
    assert found.labels == ("background", "core", "rim", "artefact", "ignored")
    assert found.label_values == (0, 1, 4, 8, 9)  # that of what is ignored is never written
    assert found.values_in_files(4) == (7, 9)
    assert relabelled(task(), None, ["core"]).labels[-1] == "core"


def test_a_case_annotates_a_label_if_it_annotates_all_of_it() -> None:
    """By classes: 1 core, 2 rim, 3 cyst."""
    found = relabelled(task((1, 3), (1, 2), None, (4,), (1, 2, 3)), {"tumour": [1, 4], "cyst": [7]}, [])
    assert {case.id: case.annotated for case in found.cases} == {"0": (2,), "1": (1,), "2": None, "4": None}


@pytest.mark.parametrize(
    ("labels", "ignored", "tokens"),
    [
        ({"tumour": [1, 3]}, [], ["task.labels: tumour", "3", "7 (cyst)"]),
        ({"tumour": ["cor"]}, [], ["'cor'", "1 (core)"]),
        ({"tumour": [0, 1]}, [], ["0"]),
        ({"tumour": []}, [], ["task.labels: tumour"]),
        ({"a": [1], "b": [1, 4]}, [], ["1 (core)", "a", "b", "task.regions"]),
        ({"a": [1]}, ["core"], ["1 (core)", "ignored"]),
        (None, ["what"], ["task.ignore", "'what'"]),
        (None, [1, 4, 7, 8, 9], ["task.ignore"]),
    ],
)
def test_labels_that_cannot_be_are_refused(labels: object, ignored: list[object], tokens: list[str]) -> None:
    with pytest.raises(InputError) as error:
        relabelled(task(), labels, ignored)  # type: ignore[arg-type]
    for token in tokens:
        assert token in str(error.value)
