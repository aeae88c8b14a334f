"""Labels that cannot be learnt are named, with their cases."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.task import Case, Task
from app.data.prepare.cache import Cache
from app.data.sample.label_volumes import case_labels, label_volumes
from app.data.sample.split import Split
from app.data.sets.decathlon import read_task
from app.train.label_presence import warn_of_absent, warn_of_vanished, warn_of_vanishing
from tests.support.config import PLAN
from tests.support.volumes import MakeTask


def test_labels_of_no_training_case_are_named(caplog: pytest.LogCaptureFixture) -> None:
    cases = tuple(Case(name, Path("i"), Path("l")) for name in "abc")
    task = Task("T", ("CT",), ("background", "liver", "tumour", "cyst"), cases)
    volumes = {"a": (9.0, 2.0, 0.0), "b": (9.0, 0.0, 0.0), "c": (9.0, 0.0, 0.0)}
    warn_of_absent(task, Split(0, cases[1:], cases[:1]), volumes)
    tumour, cyst = (record.getMessage() for record in caplog.records)
    assert "tumour (2)" in tumour and "none of 2 training cases" in tumour and "(a)" in tumour
    assert "cyst (3)" in cyst and "none of 3 cases" in cyst


def told(task: Task, cache: Cache, spacing: float, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings on a grid of cubes of that many mm, which mode=plan and a training give alike."""
    plan = replace(PLAN, spacing=(spacing,) * 3, normalisation=PLAN.normalisation[1:])
    caplog.clear()
    warn_of_vanishing(task, plan, case_labels(cache))
    before = warnings_in(caplog)
    caplog.clear()
    warn_of_vanished(task, plan, case_labels(cache), cache.prepare(plan))
    assert warnings_in(caplog) == before
    return before


def test_labels_that_the_grid_loses_are_named(
    make_task: MakeTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One voxel of 1 mm is left in case 2; the grid has voxels of 3 mm."""
    folder = make_task(cases=3)
    path = folder / "labelsTr" / "blob_002.nii.gz"
    voxels = np.zeros((19, 22, 17), np.uint8)
    voxels[9, 11, 8] = 1
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    task = read_task(folder)
    cache = Cache(tmp_path / "cache", task, workers=1)
    volumes = label_volumes(cache)
    assert volumes["blob_002"] == [1.0] and volumes["blob_001"][0] > 100
    (line,) = told(task, cache, 3.0, caplog)
    assert "blob (1)" in line and "1 cases" in line and "blob_002" in line
    assert not told(task, cache, 1.0, caplog)


def test_single_lesions_that_the_grid_loses_are_counted(
    make_task: MakeTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Part of the blob of case 1 gets two lesions of a voxel, that of case 3, in another orientation, one.

    A voxel next to the whole blob of case 2 is less than .2 % of it, so it counts as a stray, not as lost.
    """
    folder = make_task(cases=3)
    for name, places, affine in (
        ("blob_001", ((1, 2, 1), (17, 2, 15)), np.eye(4)),
        ("blob_002", ((1, 2, 1),), np.eye(4)),
        ("blob_003", ((1, 18, 1),), np.diag([-1.0, 1, 1, 1])),
    ):
        for part in ("images", "labels"):
            path = folder / f"{part}Tr" / f"{name}.nii.gz"
            voxels = np.asarray(nib.load(path).dataobj).copy()
            if part == "labels":
                if name != "blob_002":
                    voxels.flat[np.flatnonzero(voxels)[400:]] = 0
                voxels[tuple(zip(*places, strict=True))] = 1
            nib.save(nib.Nifti1Image(voxels, affine), path)
    task = read_task(folder)
    cache = Cache(tmp_path / "cache", task, workers=1)
    counts = {case: [each.count for each in found.lesions] for case, found in case_labels(cache).items()}
    assert counts == {"blob_001": [3], "blob_002": [2], "blob_003": [2]}
    (line,) = told(task, cache, 3.0, caplog)
    assert line.startswith("label blob (1) loses separate parts (lesions)") and "3 in all" in line
    assert "2 of 3 in blob_001" in line and "1 of 2 in blob_003" in line
    assert not told(task, cache, 1.0, caplog)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
