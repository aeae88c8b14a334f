"""Runs in two stages from end to end: what every mode makes of them."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app import Segmenter, run
from app.api import RunFolder
from app.core import run_folder
from app.core.errors import InputError, Interrupted
from app.core.files import read_json
from app.core.plan import read_plan
from app.models.checkpoint import read_checkpoint
from app.train import locate
from tests.support.volumes import write_blobs

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = write_blobs(tmp_path_factory.mktemp("data"), cases=6, shape=(32, 32, 32))
    return [
        *("task=decathlon", f"task.folder={folder}", "augment=none", "sliding=fast", "threads=1"),
        *("plan.stages=2", "plan.base_width=8", "plan.max_levels=3", "folds=3", "train.steps=120"),
        *("train.epoch_steps=60", f"paths.cache={tmp_path_factory.mktemp('cache')}", "log=quiet"),
    ]


@pytest.fixture(scope="module")
def whole(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(*settings, f"paths.run={tmp_path_factory.mktemp('runs') / 'whole'}")


def test_a_run_in_two_stages_predicts_what_it_was_judged_by(settings: list[str], whole: RunFolder) -> None:
    plan, _ = read_plan(whole.path / run_folder.PLAN)
    assert plan.locate is not None
    checkpoint = read_checkpoint(whole.path / run_folder.LAST)
    assert checkpoint.locator is not None and min(checkpoint.locator.margin_mm) > 0
    assert whole.summary["mean_dice"] > 0.7
    outside = [int(row["outside_region_voxels"]) for row in whole.cases]
    assert whole.summary["outside_region_voxels"] == sum(outside) and len(outside) == 2
    files = sorted((whole.path / run_folder.PREDICTIONS).glob("*.nii.gz"))
    assert len(files) == 2
    segmenter = Segmenter.load(whole.path)
    for file in files:
        scan = Path(settings[1].removeprefix("task.folder=")) / "imagesTr" / file.name
        np.testing.assert_array_equal(segmenter(scan), np.asarray(nib.load(file).dataobj))


def test_a_run_interrupted_in_its_first_stage_resumes_to_the_same_network(
    settings: list[str], whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted("interrupted at step 60")

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(locate, "learnt_share", interrupt)
        run(*settings, f"paths.run={tmp_path / 'half'}")
    assert not (tmp_path / "half" / run_folder.LAST).exists()
    resumed = run(f"train.resume={tmp_path / 'half'}")
    assert resumed.summary["mean_dice"] == whole.summary["mean_dice"]
    ours, theirs = (read_checkpoint(each.path / run_folder.LAST) for each in (whole, resumed))
    assert ours.digest == theirs.digest
    assert ours.locator is not None and theirs.locator is not None
    assert ours.locator.margin_mm == theirs.locator.margin_mm


def test_what_cannot_take_two_stages_says_so(whole: RunFolder) -> None:
    with pytest.raises(InputError, match=r"export\.model"):
        run("mode=export", f"export.model={whole.path}", "export.format=onnx")


def test_both_stages_begin_with_those_of_another_run(
    settings: list[str], whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it stopped between its stages and the other run is gone."""
    source = tmp_path / "source"
    shutil.copytree(whole.path, source)
    more = ("train.steps=1", "train.epoch_steps=1", f"train.init={source}")

    def interrupt(*_: object) -> None:
        raise Interrupted("interrupted")

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(locate, "learnt_share", interrupt)
        run(*settings, *more, f"paths.run={tmp_path / 'tuned'}")
    shutil.rmtree(source)
    tuned = run(f"train.resume={tmp_path / 'tuned'}")
    theirs, ours = (read_checkpoint(each.path / run_folder.LAST) for each in (whole, tuned))
    assert ours.locator is not None and theirs.locator is not None
    pairs = (
        (theirs.locator.weights, ours.locator.weights),
        (theirs.inference_weights, ours.weights),
    )
    for before, after in pairs:
        assert before.keys() == after.keys()
        for name, values in before.items():  # one step of a small rate
            assert (values - after[name]).abs().max() < 0.01
    for folder in (tuned.path, tuned.path / run_folder.LOCATE):
        assert read_json(folder / run_folder.INIT_RECORD)["fresh"] == {}
