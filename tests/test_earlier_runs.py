"""Run folders and checkpoints that version 0.1.0 (83529ec) wrote: they resume, predict the same and report.

Three networks of a few weights on five small volumes: op=cakes, op=dice (now dicenet), and op=antblock with
eca attention and dense kernels in the decoder; checkpoints are of step 30 of 60.
"""

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app import Segmenter, run
from app.core.files import read_json
from app.models.checkpoint import read_checkpoint

pytestmark = pytest.mark.e2e

EARLIER = Path(__file__).parent / "fixtures" / "earlier_runs"
RUNS = ("cakes", "dice", "antblock")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the runs and their data; paths in the runs are relative to it."""
    shutil.copytree(EARLIER, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", RUNS)
def test_they_predict_the_same_voxels(here: Path, name: str) -> None:
    labels = Segmenter.load(here / name)(here / "scan.nii.gz")
    expected = np.asarray(nib.load(here / f"expected_{name}.nii.gz").dataobj)
    assert len(np.unique(expected)) > 1
    assert np.count_nonzero(labels != expected) <= 1  # probabilities of a voxel may tie within rounding


@pytest.mark.parametrize("name", RUNS)
def test_they_resume_as_they_would_have_then(here: Path, name: str) -> None:
    resumed = run(f"train.resume={name}", "threads=1")
    assert resumed.path == Path(name) and resumed.summary["steps"] == 60
    expected, found = (_rows(here / name / file) for file in ("expected_metrics.csv", "metrics.csv"))
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for column in ("train_loss", "lr", "val_dice_mean", "val_dice_shell"):
            assert float(ours[column]) == pytest.approx(float(theirs[column]), rel=2e-3, abs=2e-3), column
    assert read_checkpoint(resumed.checkpoint).flip_axes is not None  # as every checkpoint of today


def test_they_are_reported(here: Path) -> None:
    run("mode=report", "report.runs=.")
    page = (here / "report.html").read_text(encoding="utf-8")
    assert "0.302" in page and "blob_001" in page  # its mean Dice, and a held-out case


def test_they_are_predicted_with_by_command(here: Path) -> None:
    words = ("predict.model=dice", "predict.input=scan.nii.gz", "predict.output=out", "device=cpu")
    done = run("mode=predict", *words, "sliding=fast", "sliding.skip_air=false")  # as the run was evaluated
    manifest = read_json(here / "out" / "manifest.json")
    assert set(done.predictions) == {"scan"} and manifest["sliding"]["overlap"] == 0.25
    expected = np.asarray(nib.load(here / "expected_dice.nii.gz").dataobj)
    found = np.asarray(nib.load(done.predictions["scan"]).dataobj)
    assert np.count_nonzero(found != expected) <= 1


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
