"""split.json, by which a run that resumes finds out what has changed."""

from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.task import Case, Task
from app.data.sample.split import Split
from app.train.split_record import recorded_split, refuse_changed, write_split

CASES = tuple(Case(name, Path(f"/d/{name}.nii.gz"), Path(f"/d/{name}_l.nii.gz")) for name in "abc")
TASK = Task("T", ("CT",), ("background", "liver"), CASES, folders=(Path("/d"),))
SPLIT = Split(0, CASES[:2], CASES[2:])
DIGESTS = {"a": "1", "b": "2", "c": "3"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_split(tmp_path, SPLIT, TASK, DIGESTS)
    write_json(tmp_path / "environment.json", {"data_hash": "h"})
    return tmp_path


def test_names_of_channels_and_labels_are_recorded(run: Path) -> None:
    split = read_json(run / "split.json")
    assert (split["modalities"], split["labels"]) == (["CT"], ["background", "liver"])


def test_cases_whose_files_changed_are_named(run: Path) -> None:
    refuse_changed(run, TASK, DIGESTS, "h")
    with pytest.raises(InputError, match=r"2 cases \(a, c\)") as error:
        refuse_changed(run, TASK, {"a": "8", "b": "2", "c": "9"}, "i")
    assert "/d" in str(error.value) and str(run) in str(error.value)
    with pytest.raises(InputError, match=r"dataset\.json"):
        refuse_changed(run, TASK, DIGESTS, "i")  # other names of labels


def test_a_run_that_recorded_no_digests_is_refused_by_the_hash_of_all(run: Path) -> None:
    split = read_json(run / "split.json")
    for entry in split["files"].values():
        del entry["digest"]
    write_json(run / "split.json", split)
    refuse_changed(run, TASK, DIGESTS, "h")
    with pytest.raises(InputError, match="label maps"):
        refuse_changed(run, TASK, DIGESTS, "i")
    (run / "environment.json").unlink()
    refuse_changed(run, TASK, DIGESTS, "i")  # nothing is known


def test_the_sides_are_those_recorded(run: Path) -> None:
    other = Split(0, CASES[1:], CASES[:1])
    assert recorded_split(run, other, TASK) == SPLIT
    with pytest.raises(InputError, match="1 are gone"):
        recorded_split(run, Split(0, CASES[:1], CASES[1:2]), Task("T", ("CT",), TASK.labels, CASES[:2]))
