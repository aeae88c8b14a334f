"""What stops a training: one line with the fault, its place, and the checkpoint to resume from."""

import errno
import json
import os
import re
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from app.data.prepare import cache
from app.layers import device_policy
from app.layers.device_policy import policy_of
from app.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from app.operators import merging
from app.operators.merging import use_recorded
from app.train import run as training
from app.train.machine import speed_record as yardstick
from tests.support.cli import call_on_blobs, no_room
from tests.support.config import TINY
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    """Return a function that gives the exit code and the last line on stderr of `python run.py`."""
    make_task()

    def run(*overrides: str) -> tuple[int, str]:
        resumes = any(word.startswith("train.resume") for word in overrides)
        place = () if resumes else (f"paths.run={tmp_path / 'run'}",)
        if not (code := call_on_blobs(tmp_path, *place, *overrides, monkeypatch=monkeypatch)):
            return 0, ""
        told = capfd.readouterr().err
        assert "Traceback" not in told
        return code, told.strip().splitlines()[-1]

    return run


def on_call(number: int, usual: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls `instead` the `number`th time, and `usual` all other times."""
    calls = iter(range(1, 1000))

    def call(*args: Any, **kwargs: Any) -> Any:
        chosen = instead if next(calls) == number else usual
        return chosen(*args, **kwargs)

    return call


def assert_names_checkpoint(line: str, last: Path) -> None:
    """The line names the checkpoint, its step, and the override that resumes from it."""
    step = read_checkpoint(last).training["step"]
    for token in (str(last), f"train.resume={last.parent}"):
        assert token in line
    assert str(step) in whole_numbers(line)


def whole_numbers(line: str) -> list[str]:
    """Return the whole numbers in a line, without those that are part of a path or of a fraction."""
    return re.findall(r"(?<![\w./-])\d+(?!\w|\.\d)", line)


def test_a_full_disk_leaves_the_checkpoint_before(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resumed run ends as any other; the speed of the machine is measured around each part of it."""
    usual = training.write_checkpoint
    monkeypatch.setattr(yardstick, "measure_yardstick", lambda device, threads: 0.5)

    def full(path: Path, checkpoint: Checkpoint) -> None:
        with no_room(1000):
            usual(path, checkpoint)

    last = tmp_path / "run" / "last.pt"
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_checkpoint", on_call(3, usual, full))  # best, last, best
        code, told = call("train.epoch_steps=1", "train.yardstick=true")
    assert code == 1
    assert read_checkpoint(last).training["step"] in (1, 2)
    assert re.search(r"\S+\.pt\b", told) and os.strerror(errno.EFBIG) in told
    assert_names_checkpoint(told, last)
    assert not list(last.parent.glob(".*"))
    assert call(f"train.resume={last.parent}") == (0, "")
    summary = json.loads((last.parent / "summary.json").read_text(encoding="utf-8"))
    assert (summary["steps"], summary["yardstick_seconds"]) == (4, [0.5, 0.5, 0.5])
    assert summary["yardstick_steps"] == pytest.approx(summary["train_seconds"] / 0.5, abs=0.2)


def test_a_run_under_the_policy_of_a_gpu(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layout, norm, half precision and merging; a clock finds the first convolution faster as one call.

    The resumed run and the prediction take what the run has recorded: the clock has no more ticks.
    """
    monkeypatch.setattr(device_policy, "_CPU", policy_of(torch.device("cuda")))
    run = tmp_path / "run"
    run.mkdir()
    (run / "stop").touch()  # asks to end after the first epoch
    with monkeypatch.context() as patch:
        ticks = chain([2.0, 1.0], repeat(1.0))
        patch.setattr(merging, "_seconds", lambda work, device: (work(), next(ticks))[1])
        assert call("op=cakes", "plan.base_width=16", "train.precision=bf16") == (0, "")
    (first,) = json.loads((run / "merged.json").read_text(encoding="utf-8"))["cpu"]
    assert read_checkpoint(run / "last.pt").training["step"] == 2
    monkeypatch.setattr(merging, "_seconds", None)
    assert call(f"train.resume={run}") == (0, "")
    rebuilt = read_checkpoint(run / "last.pt").trained_network()
    assert use_recorded(rebuilt, run, torch.device("cpu"))
    merged = [name for name, each in rebuilt.named_modules() if getattr(each, "merged", False)]
    assert merged == [first]
    images = tmp_path / "Task90_Blobs" / "imagesTr"
    masks = (f"predict.input={images}", f"predict.output={tmp_path / 'masks'}", "predict.precision=bf16")
    assert call("mode=predict", f"predict.model={run}", *masks) == (0, "")
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == 5
    manifest = json.loads((tmp_path / "masks" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["precision"], manifest["precision_set"]) == ("bf16", "bf16")


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


def test_a_loss_that_is_not_finite_leaves_the_checkpoint_before(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = torch.isfinite
    finite = chain([True, True, True, False], repeat(True))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "isfinite", lambda value: usual(value) & (value.numel() > 1 or next(finite)))
        code, told = call()
    assert code == 1
    assert "3" in whole_numbers(told)  # the step
    assert len(re.findall(r"\bblob_00\d\b", told)) == 2  # the cases of its batch
    last = tmp_path / "run" / "last.pt"
    assert read_checkpoint(last).training["step"] == 2
    assert_names_checkpoint(told, last)
    lower = next(word for word in told.split() if word.startswith("optimizer.lr="))
    assert call(f"train.resume={last.parent}", lower) == (0, "")
    history = read_checkpoint(last).training["history"]
    assert [row["lr"] for row in history] == [pytest.approx(0.002 * (2 / 4) ** 0.9), 0.0]
    kept = yaml.safe_load((last.parent / "config.yaml").read_text(encoding="utf-8"))
    assert kept["optimizer"]["lr"] == pytest.approx(0.0002)


def test_advice_on_a_loss_that_is_not_finite_works(call: Call, tmp_path: Path) -> None:
    """The first checkpoint has run away too: it is not offered, and the rate that is offered trains."""
    fast = ("optimizer.lr=1e18", "train.clip_norm=null", "train.epoch_steps=1")
    code, told = call(*fast)
    assert code == 1 and "train.resume" not in told and "paths.run" in told
    lower = next(word for word in told.split() if word.startswith("optimizer.lr="))
    assert call(*fast, lower, f"paths.run={tmp_path / 'again'}") == (0, "")


def test_an_evaluation_that_is_interrupted_says_how_to_resume(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache.Cache, "prepare", interrupt)
        code, told = call()
        assert code == 130 and "the same command" in told and "train.resume" not in told
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_held_out", interrupt)
        code, told = call()
        assert code == 130 and f"train.resume={tmp_path / 'run'}" in told
    assert call(f"train.resume={tmp_path / 'run'}") == (0, "")
    assert not (tmp_path / "run" / "lock.json").exists()


def test_weights_that_are_not_finite_are_not_kept(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the last step of an epoch is finite, its gradient is not."""
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spoil)
    code, told = call("train.epoch_steps=1")
    assert code == 1
    assert re.search(r"encoder\.0\.0\.0\S*weight", told) and "1" in whole_numbers(
        told
    )  # the parameter and the step
    assert "last.pt" not in told and "train.resume" not in told  # there is nothing to resume from
    assert not (tmp_path / "run" / "last.pt").exists()


def spoil(parameters: Any, limit: float) -> None:
    next(iter(parameters)).grad.fill_(float("inf"))


def test_a_run_folder_that_cannot_be_made_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for place, why in (("file/run", errno.ENOTDIR), ("file", errno.EEXIST)):
        code, told = call(f"paths.run={tmp_path / place}")
        assert code == 1
        for token in (str(tmp_path / place), os.strerror(why)):
            assert token in told


def test_a_read_only_run_folder_is_named(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is simulated, as the superuser may write everywhere."""
    usual = Path.write_text

    def refuse(path: Path, *args: Any, **kwargs: Any) -> int:
        if path.parent == tmp_path / "run":
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", refuse)
    code, told = call()
    assert code == 1
    assert re.search(re.escape(str(tmp_path / "run")) + r"/\w+\.json\b", told) and "Permission denied" in told


def test_a_file_missing_from_the_cache_is_named(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cache.CachedCase.image

    def gone(case: cache.CachedCase) -> Any:
        (case.folder / "image.npy").unlink(missing_ok=True)
        return usual(case)

    monkeypatch.setattr(cache.CachedCase, "check", lambda case: None)
    monkeypatch.setattr(cache.CachedCase, "image", on_call(7, usual, gone))
    code, told = call("train.epoch_steps=1")
    assert code == 1
    (path,) = re.findall(r"\S+image\.npy", told)
    assert re.search(r"\bblob_00\d\b", told) and not Path(path).exists()
    assert_names_checkpoint(told, tmp_path / "run" / "last.pt")


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
