"""A raw data folder of nnU-Net trains, predicts and is checked as it lies."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app import run
from app.report.read.runs import read_runs
from app.report.read.scans import read_scan
from tests.support.config import TINY
from tests.support.volumes import draw_blob

pytestmark = pytest.mark.e2e


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two channels of blobs in two regions, with some voxels of value 3 that are ignored."""
    folder = tmp_path / "Dataset007_Blobs"
    for number in range(5):
        image, label = draw_blob((24, 24, 24), 2, seed=number)
        label[:, 12:][label[:, 12:] > 0] = 2
        label[0, 0] = 3
        parts = {f"imagesTr/blob_{number}_000{n}": image[..., n] for n in (0, 1)}
        for name, voxels in (*parts.items(), (f"labelsTr/blob_{number}", label)):
            path = folder / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    facts = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "blob": [1, 2], "side": [2], "ignore": 3},
        "regions_class_order": [1, 2],
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


def test_a_raw_data_folder_works_in_every_mode(folder: Path, tmp_path: Path) -> None:
    settings = [*TINY, f"task.folder={folder}", f"paths.cache={tmp_path / 'cache'}", "log=quiet"]
    run("mode=check", *settings, f"paths.run={tmp_path / 'check'}")
    done = run(*settings, f"paths.run={tmp_path / 'run'}")
    assert list(done.summary["dice"]) == ["blob", "side"]
    (read,) = read_runs([done.path])
    assert read.label_values == {"blob": (1, 2), "side": (2,)} and read.ignored_value == 3
    case = next(iter(done.predictions))
    assert read_scan(read, case).image.shape == (24, 24, 24)
    for path in done.predictions.values():
        assert set(np.unique(np.asarray(nib.load(path).dataobj))) <= {0, 1, 2}
    scans = (f"predict.input={folder / 'imagesTr'}", f"predict.output={tmp_path / 'out'}")
    written = run("mode=predict", f"predict.model={done.path}", *scans, "log=quiet").predictions
    assert set(written) == {f"blob_{number}" for number in range(5)}  # as nnU-Net calls them
    np.testing.assert_array_equal(
        *(np.asarray(nib.load(each[case]).dataobj) for each in (written, done.predictions))
    )
    one = (
        f"predict.input={folder / 'imagesTr' / 'blob_1_0000.nii.gz'}",
        f"predict.output={tmp_path / 'one'}",
    )
    assert list(run("mode=predict", f"predict.model={done.path}", *one, "log=quiet").predictions) == [
        "blob_1"
    ]
