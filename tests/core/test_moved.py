"""Data sets that have moved since a run recorded them."""

from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.moved import Moved

FILES = {
    "a": {"image": "/old/Task1/imagesTr/a.nii.gz", "label": "/old/Task1/labelsTr/a.nii.gz", "digest": "1"}
}
CONFIG = {"paths": {"data": "/old"}, "task": {"folder": "/old/Task1"}}


@pytest.mark.parametrize(
    ("moved", "now"),
    [
        (Moved(), "/old/Task1"),
        (Moved(data=Path("/new")), "/new/Task1"),
        (Moved(folder=Path("/else/Task7")), "/else/Task7"),
        (Moved(data=Path("/new"), folder=Path("/else/Task7")), "/else/Task7"),
    ],
)
def test_files_are_found_by_one_setting(moved: Moved, now: str) -> None:
    found = moved.files({"files": FILES}, CONFIG)["a"]
    assert (found["image"], found["label"]) == (f"{now}/imagesTr/a.nii.gz", f"{now}/labelsTr/a.nii.gz")
    assert found["digest"] == "1"


def test_a_data_set_that_lay_elsewhere_needs_its_own_folder(tmp_path: Path) -> None:
    moved = Moved(data=Path("/new"))
    assert moved.folder_of(tmp_path, Path("/old")) == tmp_path  # still there
    with pytest.raises(InputError, match=r"task\.folder"):
        moved.folder_of(tmp_path / "gone", Path("/old"))
