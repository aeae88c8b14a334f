"""Label values beyond a byte, with gaps, from the files that train to the files that are written."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from app import run
from app.core.files import read_json
from app.data.prepare.cache import Cache
from app.data.sets.decathlon import read_task
from app.infer.batch.case_dice import dice_of_cases
from app.infer.batch.manifest import Manifest
from app.infer.batch.predict import predict_scans
from app.infer.scan.segmenter import Segmenter
from app.models.checkpoint import read_checkpoint, write_checkpoint
from app.train.final_scores import evaluate_held_out
from tests.support.config import TINY
from tests.support.networks import SLIDING, Bench, make_bench
from tests.support.runs import NIFTI
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

VALUE = 257  # one more than a byte holds


def bright(windows: torch.Tensor) -> torch.Tensor:
    """Logits of a network that knows the blobs: they are what is bright."""
    return torch.cat([1.5 - windows, windows - 1.5], dim=1)


@pytest.fixture
def folder(make_task: MakeTask) -> Path:
    """Blobs of label value 257."""
    folder = make_task(cases=3)
    for path in (folder / "labelsTr").iterdir():
        voxels = np.asarray(nib.load(path).dataobj).astype(np.int16) * VALUE
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    facts["labels"] = {"0": "background", str(VALUE): "blob"}
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def bench(folder: Path, tmp_path: Path) -> Bench:
    return make_bench(folder, tmp_path / "cache")


def test_one_value_trains_predicts_and_is_judged_as_itself(bench: Bench, tmp_path: Path) -> None:
    assert (
        set(np.unique(bench.cached[0].labels().whole())) == {0, 1}
        and bench.cached[0].labels().whole().dtype == np.uint8
    )
    checkpoint = bench.checkpoint(bench.state())
    write_checkpoint(tmp_path / "last.pt", checkpoint)
    read = read_checkpoint(tmp_path / "last.pt")
    assert read.label_values == (0, VALUE)
    trained = Segmenter.from_checkpoint(read, sliding=SLIDING, device=torch.device("cpu"))
    segmenter = Segmenter(
        (bright,), trained.plans, trained.modalities, trained.labels, SLIDING, values=trained.values
    )
    cases = bench.task.cases
    scores = evaluate_held_out(segmenter, cases, bench.task, tmp_path / "run", nsd_tolerance_mm=1.0).scores
    assert all(score.values["dice"] > 0.5 for score in scores)
    assert dice_of_cases(segmenter, cases)["blob_001"] == {"blob": scores[0].values["dice"]}
    manifest = Manifest(tmp_path / "out", {})
    done = predict_scans(segmenter, [case.image for case in cases], tmp_path / "out", NIFTI, manifest)
    for written in (tmp_path / "run" / "predictions" / "blob_001.nii.gz", done.written[0]):
        image = nib.load(written)
        assert image.get_data_dtype() == np.uint16
        assert set(np.unique(np.asarray(image.dataobj))) == {0, VALUE}
    voxels = int((np.asarray(nib.load(done.written[0]).dataobj) == VALUE).sum())
    facts = read_json(tmp_path / "out" / "manifest.json")["cases"]["blob_001"]
    assert facts["volumes_ml"] == {"blob": pytest.approx(voxels / 1000, abs=1e-4)}  # voxels of 1 mm3
    np.testing.assert_array_equal(np.unique(segmenter(cases[0].image)), [0, VALUE])


def test_other_values_are_prepared_apart(folder: Path, tmp_path: Path, bench: Bench) -> None:
    """What was prepared under other label values is never taken: the same files train otherwise."""
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    facts["labels"] = {str(value): str(value) for value in range(VALUE + 1)}
    (folder / "dataset.json").write_text(json.dumps(facts))
    task = read_task(folder)
    other = Cache(tmp_path / "cache", task, workers=1).prepare(bench.plan)["blob_001"]
    assert other.labels().whole().dtype == np.int16 and set(np.unique(other.labels().whole())) == {0, VALUE}
    assert set(np.unique(bench.cached[0].labels().whole())) == {0, 1}


def test_more_labels_than_a_byte_counts_train_by_command(folder: Path, tmp_path: Path) -> None:
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    facts["labels"] = {"0": "background", **{str(value): f"part {value}" for value in range(1, 300)}}
    (folder / "dataset.json").write_text(json.dumps(facts))
    place = (f"task.folder={folder}", f"paths.run={tmp_path / 'run'}", f"paths.cache={tmp_path / 'cache'}")
    trained = run(*TINY, *place, "train.steps=4")
    assert len(read_checkpoint(trained.checkpoint).labels) == 300
    rows = {(row["case"], row["label"]): row["status"] for row in trained.cases}
    assert {status for (_, label), status in rows.items() if label == f"part {VALUE}"} <= {"found", "missed"}
    scan = folder / "imagesTr" / "blob_001.nii.gz"
    words = (f"predict.model={trained.path}", f"predict.input={scan}", f"predict.output={tmp_path / 'out'}")
    done = run("mode=predict", *words)
    assert nib.load(done.predictions["blob_001"]).get_data_dtype() == np.uint16
