"""Labels that cannot be learnt are named, with their cases."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.task import Case, Task
from app.data.prepare.cache import Cache
from app.data.sample.label_volumes import label_volumes
from app.data.sample.split import Split
from app.data.sets.decathlon import read_task
from app.train.label_presence import foretell_vanished, tell_of_absent, tell_of_vanished
from tests.support.config import PLAN
from tests.support.volumes import MakeTask


def test_labels_of_no_training_case_are_named(caplog: pytest.LogCaptureFixture) -> None:
    cases = tuple(Case(name, Path("i"), Path("l")) for name in "abc")
    task = Task("T", ("CT",), ("background", "liver", "tumour", "cyst"), cases)
    volumes = {"a": (9.0, 2.0, 0.0), "b": (9.0, 0.0, 0.0), "c": (9.0, 0.0, 0.0)}
    tell_of_absent(task, Split(0, cases[1:], cases[:1]), volumes)
    tumour, cyst = (record.getMessage() for record in caplog.records)
    assert "tumour (2)" in tumour and "none of 2 training cases" in tumour and "(a)" in tumour
    assert "cyst (3)" in cyst and "none of 3 cases" in cyst


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
    plan = replace(PLAN, spacing=(3.0, 3.0, 3.0), normalisation=PLAN.normalisation[1:])
    foretell_vanished(cache, task, plan, volumes)
    tell_of_vanished(task, plan, volumes, cache.prepare(plan))
    foretold, found = warnings_in(caplog)
    assert foretold == found and "blob (1)" in found and "1 cases" in found and "blob_002" in found
    caplog.clear()
    fine = replace(plan, spacing=(1.0, 1.0, 1.0))
    foretell_vanished(cache, task, fine, volumes)
    tell_of_vanished(task, fine, volumes, cache.prepare(fine))
    assert not warnings_in(caplog)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
