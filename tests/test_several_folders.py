"""One training on the data sets of several folders, whose label values differ."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app import RunFolder, run
from app.core.errors import InputError
from app.core.moved import UNMOVED
from app.data.sets.recorded import recorded_cases
from app.report.read.runs import read_runs
from app.report.read.scans import read_scan
from app.view.opened import case_of_run
from tests.support.config import TINY
from tests.support.volumes import write_blobs

pytestmark = pytest.mark.e2e
NAMES = ("Task90_First", "Task91_Second")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders: one calls the label 1 a blob, the other a cyst; the cases have the same names."""
    root = tmp_path_factory.mktemp("data")
    for number, (name, label) in enumerate(zip(NAMES, ("blob", "cyst"), strict=True)):
        folder = write_blobs(root, cases=4, name=name, shape=(19 + number, 22, 17))
        facts = json.loads((folder / "dataset.json").read_text())
        facts["labels"] = {"0": "background", "1": label}
        (folder / "dataset.json").write_text(json.dumps(facts))
    return root


def folders(place: Path) -> str:
    return f"task.folder=[{place / NAMES[0]},{place / NAMES[1]}]"


@pytest.fixture(scope="module")
def trained(place: Path) -> RunFolder:
    settings = (*TINY, folders(place), f"paths.cache={place / 'cache'}", "log=quiet")
    run("mode=check", *settings, f"paths.run={place / 'check'}")
    return run(*settings, "train.steps=30", "train.epoch_steps=30", f"paths.run={place / 'run'}")


def test_each_case_is_scored_by_the_labels_of_its_folder(trained: RunFolder, place: Path) -> None:
    assert list(trained.summary["dice"]) == ["blob", "cyst"]
    split = json.loads((trained.path / "split.json").read_text())
    assert split["folder"] == [str(place / name) for name in NAMES]
    assert {case.rpartition("_T")[2] for case in split["files"]} == {"ask90_First", "ask91_Second"}
    for row in trained.cases:
        if row["label"] in ("blob", "cyst"):
            assert (row["label"] == "cyst") == row["case"].endswith("Second")
    (read,) = read_runs([trained.path])
    case = next(one for one in split["validation"] if one.endswith("Second"))
    file = nib.as_closest_canonical(nib.load(split["files"][case]["label"]))
    wanted = 2 * np.asarray(file.dataobj)
    np.testing.assert_array_equal(read_scan(read, case).reference, wanted)
    assert set(np.unique(case_of_run(trained.path, case, UNMOVED).maps["reference"].voxels)) == {0, 2}


def test_folders_that_moved_are_found_in_their_order(trained: RunFolder, place: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (place / name).rename(tmp_path / name)
    try:
        run(f"train.resume={trained.path}", folders(tmp_path), "log=quiet")
        run("mode=cleanup", f"cleanup.runs={trained.path}", folders(tmp_path), "log=quiet")
        cases = recorded_cases(trained.path, "validation")
        assert all(case.image.is_relative_to(tmp_path) for case in cases)
        with pytest.raises(InputError, match=r"task\.folder.*1.*2"):
            run(f"train.resume={trained.path}", f"task.folder={tmp_path / NAMES[0]}", "log=quiet")
    finally:
        for name in NAMES:
            (tmp_path / name).rename(place / name)


def test_modes_on_one_folder_refuse_several(place: Path, tmp_path: Path) -> None:
    for words in ("check.repair=copy", "check.add=masks"):
        with pytest.raises(InputError, match=r"check\..*one"):
            run("mode=check", *TINY, folders(place), words, f"paths.run={tmp_path / 'run'}", "log=quiet")
