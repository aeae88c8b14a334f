"""How a training begins and resumes: with which cases, steps and weights."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from app.models.checkpoint import read_checkpoint, write_checkpoint
from tests.support.cli import Call, whole_numbers
from tests.support.config import TINY

pytestmark = pytest.mark.e2e


def test_a_resumed_run_is_not_made_longer_than_its_learning_rate(call: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert call("train.steps=100000", "train.max_minutes=0.001") == (0, "")
    code, told = call(f"train.resume={run}", "train.steps=200000")
    assert code == 1
    for token in ("train.resume", "100000", "train.steps=200000"):
        assert token in told
    code, told = call(f"train.resume={run}", "train.max_minutes=5")
    assert code == 1
    assert re.search(r"train\.max_minutes\b", told) and re.search(r"\b5\b", told)
    assert call(f"train.resume={run}", "train.patience=7") == (0, "")
    kept = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["train"]
    assert (kept["steps"], kept["max_minutes"], kept["patience"]) == (100000, 0.001, 7)


def test_a_run_does_not_resume_with_other_cases(call: Call, tmp_path: Path) -> None:
    run, facts = tmp_path / "run", tmp_path / "Task90_Blobs" / "dataset.json"
    assert call() == (0, "")
    whole = facts.read_text(encoding="utf-8")
    fewer = json.loads(whole)
    del fewer["training"][0]
    facts.write_text(json.dumps(fewer), encoding="utf-8")
    code, told = call(f"train.resume={run}")
    assert code == 1
    for token in ("task.folder", str(facts.parent), str(run / "split.json")):
        assert token in told
    numbers = whole_numbers(told)  # of new cases, of missing ones, of those that would change sides
    assert len(numbers) == 3 and {"0", "1"} <= {*numbers}
    facts.write_text(whole, encoding="utf-8")
    assert call(f"train.resume={run}") == (0, "")


def test_one_command_begins_and_resumes_and_refuses_another_run(call: Call, tmp_path: Path) -> None:
    """As a queue submits a job again."""
    again = ("train.resume=auto", "train.steps=6", f"task.folder={tmp_path / 'Task90_Blobs'}")

    def submitted(*more: str) -> tuple[int, str]:
        words = (*TINY, f"paths.cache={tmp_path / 'cache'}", f"paths.run={tmp_path / 'run'}", *again)
        return call(*words, *more)

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stop").touch()  # asks to end after the first epoch
    assert submitted() == (0, "")
    assert read_checkpoint(tmp_path / "run" / "last.pt").training["step"] == 2
    code, told = submitted("op=p3d")
    assert code == 1 and "paths.run" in told and "op" in told
    code, told = submitted("mode=search")
    assert code == 1 and "mode=train" in told and "mode=search" in told
    code, told = call(f"train.resume={tmp_path / 'run'}", f"paths.run={tmp_path / 'other'}")
    assert code == 1 and str(tmp_path / "run") in told and "paths.run" in told
    for mode in ("plan", "analyze"):
        code, told = call(f"mode={mode}")
        assert code == 1 and str(tmp_path / "run") in told and "paths.run" in told
    assert submitted() == (0, "")
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]["resume"] is None


def test_all_cases_train_and_a_test_set_is_scored_apart(call: Call, tmp_path: Path) -> None:
    assert call("fold=none", "split.test=[blob_005]") == (0, "")
    run = tmp_path / "run"
    summary, split = (json.loads((run / f"{name}.json").read_text()) for name in ("summary", "split"))
    assert (summary["mean_dice"], summary["fold"], split["fold"]) == (None, "none", None)
    assert (len(split["train"]), split["validation"], split["test"]) == (4, [], ["blob_005"])
    assert summary["test"]["dice"]["blob"] > 0 and not (run / "best.pt").exists()
    assert [path.name for path in (run / "test" / "predictions").iterdir()] == ["blob_005.nii.gz"]
    assert json.loads((run / "fingerprint.json").read_text())["cases"] == 4  # the plan has not seen it
    assert "Accuracy on the test set" in (run / "model_card.md").read_text(encoding="utf-8")
    code, told = call(f"train.resume={run}", "train.patience=3")
    assert code == 1 and "train.patience" in told
    assert not (run / "calibration.json").exists()  # a temperature is chosen on held-out cases
    images = tmp_path / "Task90_Blobs" / "imagesTr"
    places = (f"predict.input={images / 'blob_005.nii.gz'}", f"predict.output={tmp_path / 'masks'}")
    for words, key in (
        (("mode=cleanup", f"cleanup.runs={run}"), "cleanup.runs"),
        (("mode=predict", f"predict.model={run}", "predict.weights=best", *places), "weights last"),
        (("mode=export", f"export.model={run}", "export.format=int8"), "int8|8 bits"),
    ):
        code, told = call(*words)
        assert code == 1 and re.search(key, told), told


def test_cases_are_left_out_and_the_others_shared_out_by_their_labels(call: Call, tmp_path: Path) -> None:
    """A resumed run warns too; `rare` is in two of the five cases left, one of each fold."""
    data = tmp_path / "Task90_Blobs"
    facts = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps({**facts, "labels": {**facts["labels"], "2": "rare"}}))
    names = sorted(path.name for path in (data / "labelsTr").iterdir())
    for name in (names[0], names[3]):
        scan = nib.load(data / "labelsTr" / name)
        voxels = np.asarray(scan.dataobj).copy()
        voxels[1:4, 1:4, 1:4] = 2
        nib.save(nib.Nifti1Image(voxels, scan.affine), data / "labelsTr" / name)
    (tmp_path / "left_out.txt").write_text("blob_002\n")
    words = ("split.stratify=true", f"split.exclude={tmp_path / 'left_out.txt'}")
    assert call(*words, "train.steps=2") == (0, "")
    run = tmp_path / "run"
    split = json.loads((run / "split.json").read_text())
    listed = [*split["train"], *split["validation"]]
    assert sorted(listed) == [name.removesuffix(".nii.gz") for name in names if "002" not in name]
    rare = {names[0].removesuffix(".nii.gz"), names[3].removesuffix(".nii.gz")}
    assert len(rare & set(split["train"])) == len(rare & set(split["validation"])) == 1
    assert json.loads((run / "fingerprint.json").read_text())["cases"] == len(listed)
    assert call(f"train.resume={run}") == (0, "")
    assert json.loads((run / "split.json").read_text()) == split


def test_a_run_that_begins_with_other_weights_resumes_without_them(call: Call, tmp_path: Path) -> None:
    """A run that stopped after an epoch, whose first network is gone, ends with the bits of a whole run."""
    first, whole, half = (tmp_path / name for name in ("first", "whole", "half"))
    assert call("op=conv3d", f"paths.run={first}") == (0, "")
    tuned = ("op=conv3d", "task.regions={blob: [1]}", "train.freeze=[encoder.0.*]", "train.layer_decay=0.8")
    assert call(*tuned, f"train.init={first}", f"paths.run={whole}") == (0, "")
    record = json.loads((whole / "init.json").read_text())
    assert record["from"] == str(first) and "heads.0.weight" in record["fresh"]
    assert record["weights_sha256"] == read_checkpoint(first / "last.pt").digest
    summary = json.loads((whole / "summary.json").read_text())["init"]
    assert (summary["taken"], summary["fresh"]) == (len(record["taken"]), len(record["fresh"]))
    begun, ended = (
        read_checkpoint(path).inference_weights for path in (first / "last.pt", whole / "last.pt")
    )
    kept = {name for name in begun if torch.equal(begun[name], ended[f"network.{name}"])}
    assert kept == {name for name in begun if name.startswith("encoder.0.")}
    half.mkdir()
    (half / "stop").touch()
    assert call(*tuned, f"train.init={first}", f"paths.run={half}") == (0, "")
    assert read_checkpoint(half / "last.pt").training["step"] == 2
    first.rename(tmp_path / "gone")
    code, told = call(f"train.resume={half}", "train.freeze=[]")
    assert code == 1 and "train.freeze" in told
    checkpoint = read_checkpoint(half / "last.pt")
    checkpoint.training["requested"] = False  # else it has ended
    write_checkpoint(half / "last.pt", checkpoint)
    assert call(f"train.resume={half}") == (0, "")
    theirs, ours = read_checkpoint(whole / "last.pt"), read_checkpoint(half / "last.pt")
    assert (theirs.training["step"], theirs.digest) == (4, ours.digest)
    assert theirs.training["optimizer"]["param_groups"] == ours.training["optimizer"]["param_groups"]


def test_weights_that_do_not_fit_and_folders_without_weights_are_refused(call: Call, tmp_path: Path) -> None:
    assert call("op=conv3d") == (0, "")
    other = (f"train.init={tmp_path / 'run'}", f"paths.run={tmp_path / 'other'}")
    code, told = call("op=p3d", "plan.base_width=6", *other)
    assert code == 1
    for token in ("train.init", str(tmp_path / "run"), "plan.file", "encoder.0.0.0."):
        assert token in told
    code, told = call(f"train.init={tmp_path}", f"paths.run={tmp_path / 'other'}")
    assert code == 1 and str(tmp_path) in told and "last.pt" in told
    code, told = call("mode=search", *other)
    assert code == 1 and "train.init" in told and "mode=search" in told
