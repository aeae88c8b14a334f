"""Labels merged and selected by options, from check to evaluation, without new files."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app import run
from app.core.errors import InputError
from app.data.sets.recorded import recorded_cases
from app.report.read.runs import read_runs
from app.report.read.scans import read_scan
from tests.support.config import TINY
from tests.support.volumes import write_blobs

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Blobs in three parts, 1, 5 and 9; the second case annotates the first part alone."""
    folder = write_blobs(tmp_path_factory.mktemp("data"), cases=4, shape=(24, 24, 24))
    for path in (folder / "labelsTr").iterdir():
        voxels = np.asarray(nib.load(path).dataobj).copy()
        middle = int(np.nonzero(voxels)[0].mean())
        voxels[middle:][voxels[middle:] > 0] = 5
        voxels[middle + 2 :][voxels[middle + 2 :] > 0] = 9
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    facts = json.loads((folder / "dataset.json").read_text())
    facts["labels"] = {"0": "background", "1": "low", "5": "middle", "9": "high"}
    facts["training"][1]["annotated"] = ["low"]
    (folder / "dataset.json").write_text(json.dumps(facts))
    cache = tmp_path_factory.mktemp("cache")
    return [*TINY, f"task.folder={folder}", f"paths.cache={cache}", "log=quiet"]


CHOSEN = ("task.labels={upper: [9, 5], lower: low}",)


def test_chosen_labels_reach_every_mode(settings: list[str], tmp_path: Path) -> None:
    run("mode=check", *settings, *CHOSEN, f"paths.run={tmp_path / 'check'}")
    done = run(*settings, *CHOSEN, "train.steps=30", "train.epoch_steps=30", f"paths.run={tmp_path / 'run'}")
    assert list(done.summary["dice"]) == ["upper", "lower"]
    for path in done.predictions.values():
        assert set(np.unique(np.asarray(nib.load(path).dataobj))) <= {0, 1, 2}
    (read,) = read_runs([done.path])
    assert read.label_values == {"upper": (1,), "lower": (2,)}
    held_out = [case for case in recorded_cases(done.path, "validation") if case.id != "blob_002"]
    own = np.asarray(nib.as_closest_canonical(nib.load(held_out[0].label)).dataobj)
    np.testing.assert_array_equal(
        read_scan(read, held_out[0].id).reference, np.select([own > 1, own == 1], [1, 2])
    )
    labels = (
        next(word for word in settings if "task.folder" in word).removeprefix("task.folder=") + "/labelsTr"
    )
    chosen = tmp_path / "references"
    chosen.mkdir()
    for case in held_out:
        (chosen / f"{case.id}.nii.gz").symlink_to(Path(labels) / f"{case.id}.nii.gz")
        (tmp_path / "predictions").mkdir(exist_ok=True)
        (tmp_path / "predictions" / f"{case.id}.nii.gz").symlink_to(done.predictions[case.id])
    folders = (f"evaluate.predictions={tmp_path / 'predictions'}", f"evaluate.labels={chosen}")
    judged = run("mode=evaluate", *settings, *CHOSEN, *folders, f"evaluate.output={tmp_path / 'judged'}")
    ours = {(row["case"], row["label"]): row["dice"] for row in done.cases}
    assert judged.cases
    for row in judged.cases:
        assert row["dice"] == ours[row["case"], row["label"]]
    run("mode=cleanup", f"cleanup.runs={done.path}")
    assert json.loads((done.path / "cleanup.json").read_text())
    with (done.path / "cases.csv").open() as file:
        partly = [row["label"] for row in csv.DictReader(file) if row["case"] == "blob_002"]
    assert partly in ([], ["lower"])


def test_another_choice_of_labels_is_another_run(settings: list[str], tmp_path: Path) -> None:
    kept = (f"paths.run={tmp_path / 'run'}", "task.ignore=[middle, 9]")
    done = run(*settings, *kept)
    assert list(done.summary["dice"]) == ["low"]
    with pytest.raises(InputError, match="leave out"):
        run(f"train.resume={done.path}", "task.ignore=null")
