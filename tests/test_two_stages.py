"""Runs in two stages from end to end: what every mode makes of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app import Segmenter, run
from app.api import RunFolder
from app.core import run_folder
from app.core.csv_file import read_csv
from app.core.errors import InputError, Interrupted
from app.core.files import read_json
from app.core.plan import read_plan
from app.models.checkpoint import read_checkpoint
from app.train import locate
from tests.support.cli import call_here
from tests.support.volumes import write_blobs

pytestmark = pytest.mark.e2e

FEW = ("train.steps=2", "train.epoch_steps=1")


@pytest.fixture(scope="module", autouse=True)
def _no_pages() -> Iterator[None]:
    """No run draws its page, which takes seconds; a test of its own does."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ("app.cli.modes.train", "app.cli.sweep.collect"):
            patch.setattr(f"{place}.write_report", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_blobs(folder, cases=6, shape=(32, 32, 32))
    return folder


@pytest.fixture(scope="module")
def settings(place: Path) -> list[str]:
    return [
        *("task=decathlon", "augment=none", "sliding=fast", "threads=1", "op=conv3d", "log=quiet"),
        *("plan.stages=2", "plan.base_width=8", "plan.max_levels=3", "plan.batch=2", "folds=3"),
        *("train.steps=40", "train.epoch_steps=40", f"task.folder={place / 'Task90_Blobs'}"),
        f"paths.cache={place / 'cache'}",
    ]


@pytest.fixture(scope="module")
def whole(settings: list[str], place: Path) -> RunFolder:
    return run(*settings, f"paths.run={place / 'whole'}")


@pytest.fixture(scope="module")
def planned(settings: list[str], whole: RunFolder) -> list[str]:
    """The settings of runs with the plan of `whole`, which needs no measurement."""
    return [*settings, f"plan.file={whole.path / run_folder.PLAN}"]


def test_a_run_in_two_stages_predicts_what_it_was_judged_by(whole: RunFolder, place: Path) -> None:
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
        scan = place / "Task90_Blobs" / "imagesTr" / file.name
        np.testing.assert_array_equal(segmenter(scan), np.asarray(nib.load(file).dataobj))


def test_its_predictions_are_evaluated_alike(settings: list[str], whole: RunFolder, tmp_path: Path) -> None:
    folder = next(word for word in settings if word.startswith("task.folder="))
    labels = Path(folder.removeprefix("task.folder=")) / "labelsTr"
    predictions = whole.path / run_folder.PREDICTIONS
    run(
        *("mode=evaluate", "task=decathlon", folder, f"evaluate.labels={labels}"),
        *(f"evaluate.predictions={predictions}", "evaluate.missing=left_out", f"evaluate.output={tmp_path}"),
    )
    found = {row["case"]: row["dice"] for row in read_csv(tmp_path / run_folder.CASES)}
    assert found == {row["case"]: row["dice"] for row in whole.cases} and len(found) == 2


def test_a_run_interrupted_between_its_stages_resumes_to_the_same_network(
    whole: RunFolder, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    shutil.copytree(whole.path, half)
    for name in (run_folder.LAST, run_folder.BEST, run_folder.SUMMARY, run_folder.METRICS):
        (half / name).unlink()
    resumed = run(f"train.resume={half}")
    assert resumed.summary["mean_dice"] == whole.summary["mean_dice"]
    ours, theirs = (read_checkpoint(each.path / run_folder.LAST) for each in (whole, resumed))
    assert ours.digest == theirs.digest
    assert ours.locator is not None and theirs.locator is not None
    assert ours.locator.margin_mm == theirs.locator.margin_mm


def test_there_is_something_to_resume_before_the_first_stage_trains(
    planned: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted("interrupted at step 0")

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(locate, "train_network", interrupt)
        run(*planned, f"paths.run={tmp_path / 'begun'}")
    assert (tmp_path / "begun" / run_folder.CONFIG).is_file()
    assert read_plan(tmp_path / "begun" / run_folder.PLAN)[0].locate is not None


def test_a_request_to_stop_ends_both_stages_after_an_epoch(planned: list[str], tmp_path: Path) -> None:
    """The file `stop` is found in the first epoch of the first stage."""
    (tmp_path / run_folder.STOP).touch()
    stopped = run(*planned, "train.epoch_steps=1", f"paths.run={tmp_path}")
    assert not (tmp_path / run_folder.STOP).exists()
    first, second = (tmp_path / run_folder.LOCATE, tmp_path)
    steps = [read_checkpoint(folder / run_folder.LAST).training["step"] for folder in (first, second)]
    assert steps == [1, 1] and stopped.summary["steps"] == 1


def test_all_folds_are_trained_and_predict_together(
    planned: list[str], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for word in planned if not word.startswith("folds=")]
    folds = ("fold=all", "folds=2", *FEW, f"paths.sweep={tmp_path / 'sweep'}")
    assert call_here(*words, *folds, monkeypatch=monkeypatch) == 0
    told = read_json(tmp_path / "sweep" / run_folder.FOLDS)["run"]
    assert (told["mean_dice"]["cases"], told["missing"]) == (6, [])
    scan = place / "Task90_Blobs" / "imagesTr" / "blob_001.nii.gz"
    segmenter = Segmenter.load(tmp_path / "sweep")
    assert len(segmenter.digests) == 2
    assert segmenter(scan).shape == nib.load(scan).shape


def test_it_predicts_with_onnx_runtime_and_is_not_exported(
    whole: RunFolder, place: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    file = next(iter((whole.path / run_folder.PREDICTIONS).glob("*.nii.gz")))
    run(
        *("mode=predict", f"predict.model={whole.path}", "predict.engine=onnxruntime", "sliding=fast"),
        *(f"predict.input={place / 'Task90_Blobs' / 'imagesTr' / file.name}", f"predict.output={tmp_path}"),
    )
    ours, theirs = (np.asarray(nib.load(path).dataobj) for path in (file, tmp_path / file.name))
    assert np.mean(ours != theirs) < 0.001
    for kind in ("onnx", "torch", "bundle", "int8"):
        with pytest.raises(InputError, match=r"export\.model"):
            run("mode=export", f"export.model={whole.path}", f"export.format={kind}")


def test_clean_up_and_report_take_it(whole: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(whole.path, copy)
    run("mode=cleanup", f"cleanup.runs={copy}")
    assert (copy / run_folder.CLEANUP).is_file()
    run("mode=report", f"report.runs={copy}", f"report.output={tmp_path / 'page.html'}")
    assert (tmp_path / "page.html").is_file()


def test_it_is_searched_and_compressed(
    planned: list[str], settings: list[str], whole: RunFolder, tmp_path: Path
) -> None:
    run("mode=search", *planned, *FEW, "search.trials=10", f"paths.run={tmp_path / 'search'}")
    assert (tmp_path / "search" / run_folder.LAYOUT).is_file()
    small = run(
        *("mode=compress", f"compress.model={whole.path}", f"paths.run={tmp_path / 'small'}", "threads=1"),
        *("compress.patches=2", "compress.rows=300", *FEW, settings[-1]),
    )
    ours, theirs = (read_checkpoint(each.path / run_folder.LAST) for each in (whole, small))
    assert ours.locator is not None and theirs.locator is not None
    assert ours.locator.margin_mm == theirs.locator.margin_mm


def test_both_stages_begin_with_those_of_another_run(
    planned: list[str], whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it stopped between its stages and the other run is gone."""
    source = tmp_path / "source"
    shutil.copytree(whole.path, source)
    more = ("train.steps=1", "train.epoch_steps=1", "optimizer.lr=0.001", f"train.init={source}")

    def interrupt(*_: object) -> None:
        raise Interrupted("interrupted")

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(locate, "learnt_share", interrupt)
        run(*planned, *more, f"paths.run={tmp_path / 'tuned'}")
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
