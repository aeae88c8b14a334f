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
        (Moved(folders=(Path("/else/Task7"),)), "/else/Task7"),
        (Moved(data=Path("/new"), folders=(Path("/else/Task7"),)), "/else/Task7"),
    ],
)
def test_files_are_found_by_one_setting(moved: Moved, now: str) -> None:
    found = moved.files({"files": FILES}, CONFIG)["a"]
    assert (found["image"], found["label"]) == (f"{now}/imagesTr/a.nii.gz", f"{now}/labelsTr/a.nii.gz")
    assert found["digest"] == "1"


def test_a_data_set_that_lay_elsewhere_needs_its_own_folder(tmp_path: Path) -> None:
    moved = Moved(data=Path("/new"))
    assert moved.folders_of([tmp_path], Path("/old")) == (tmp_path,)  # still there
    with pytest.raises(InputError, match=r"task\.folder"):
        moved.folders_of([tmp_path / "gone"], Path("/old"))


def test_several_folders_are_found_in_their_order() -> None:
    moved = Moved(folders=(Path("/new/A"), Path("/new/B")))
    files = {name: {"image": f"/old/{name}/x", "label": f"/old/{name}/y"} for name in ("A", "B")}
    found = moved.files({"files": files, "folder": ["/old/A", "/old/B"]}, CONFIG)
    assert [found[name]["image"] for name in ("A", "B")] == ["/new/A/x", "/new/B/x"]
    with pytest.raises(InputError, match=r"task\.folder.*2.*1"):
        moved.folders_of([Path("/old/A")], None)
