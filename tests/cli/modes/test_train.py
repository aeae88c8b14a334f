"""What stops a training: one line with the fault, its place, and the checkpoint to resume from."""

import errno
import json
import os
import re
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from app.data.prepare import cache, cached_case
from app.layers import device_policy
from app.layers.device_policy import policy_of
from app.models.checkpoint import Checkpoint, read_checkpoint
from app.operators import merging
from app.operators.merging import use_recorded
from app.train import run as training
from app.train.machine import speed_record as yardstick
from tests.support.cli import Call, no_room, whole_numbers

pytestmark = pytest.mark.e2e


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
    assert [row["lr"] for row in history] == [pytest.approx(0.004 * (2 / 4) ** 0.9), 0.0]
    kept = yaml.safe_load((last.parent / "config.yaml").read_text(encoding="utf-8"))
    assert kept["optimizer"]["lr"] == pytest.approx(0.0004)


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
    usual = cached_case.CachedCase.image

    def gone(case: cached_case.CachedCase) -> Any:
        (case.folder / "image.npy").unlink(missing_ok=True)
        return usual(case)

    monkeypatch.setattr(cached_case.CachedCase, "check", lambda case: None)
    monkeypatch.setattr(cached_case.CachedCase, "image", on_call(7, usual, gone))
    code, told = call("train.epoch_steps=1")
    assert code == 1
    (path,) = re.findall(r"\S+image\.npy", told)
    assert re.search(r"\bblob_00\d\b", told) and not Path(path).exists()
    assert_names_checkpoint(told, tmp_path / "run" / "last.pt")
