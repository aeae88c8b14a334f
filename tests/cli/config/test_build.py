"""Objects from the configuration, and which device a process takes, on machines that are only described."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from app.cli.config import build
from app.cli.config.build import build_loss, refuse_other_loss
from app.core.errors import InputError
from app.data.sets.decathlon import read_task
from tests.support.config import composed
from tests.support.volumes import MakeTask


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


def device(name: str) -> str:
    return str(build.choose_device(OmegaConf.create({"device": name})))


@pytest.mark.usefixtures("gpus")
def test_a_gpu_is_chosen_by_number() -> None:
    assert [device(name) for name in ("auto", "cuda", "cuda:2", "cpu")] == [
        "cuda:0",
        "cuda:0",
        "cuda:2",
        "cpu",
    ]
    for name, tokens in {"cuda:3": ["cuda:3", "3"], "cuda:x": ["cuda:x"], "cpu:1": ["cpu:1"]}.items():
        with pytest.raises(InputError, match="device") as error:
            device(name)
        for token in tokens:
            assert re.search(rf"\b{token}\b", str(error.value))


@pytest.mark.usefixtures("gpus")
def test_jobs_of_a_sweep_and_processes_take_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number in range(4):
        monkeypatch.setattr(build, "job_number", lambda number=number: number)
        found.append(device("auto"))
    assert found == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert device("cuda:1") == "cuda:1"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert device("cuda") == "cuda:2"
    with pytest.raises(InputError, match="cuda:1"):
        device("cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(InputError, match="device") as error:
        device("cuda")
    assert {"4", "3"} <= set(re.findall(r"\d+", str(error.value)))


def test_a_machine_without_gpus_computes_on_its_processor() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert device("auto") == "cpu"
    with pytest.raises(InputError, match="cuda:1"):
        device("cuda:1")


@pytest.mark.parametrize("loss", ["dice_ce", "dice_focal", "focal", "tversky_ce"])
def test_an_option_that_a_loss_lacks_is_named_with_those_it_has(
    loss: str, make_task: MakeTask, tmp_path: Path
) -> None:
    task = read_task(make_task(cases=2))
    with pytest.raises(InputError, match=r"^loss\.weight: got \[1, 5\].*loss\.class_weights"):
        build_loss(composed(f"loss={loss}", "+loss.weight=[1,5]"), task)
    build_loss(composed(f"loss={loss}", "loss.class_weights={blob: 5}"), task)


def test_a_level_of_deep_supervision_counts_half_as_much_as_the_next_finer_one(make_task: MakeTask) -> None:
    """Background with probabilities of 1/2, 1/4 and 1/8 has a cross-entropy of 1, 2 and 3 times log 2."""
    loss = build_loss(composed("loss=dice_ce", "loss.lambda_dice=0"), read_task(make_task(cases=2)))
    levels = [torch.zeros(1, 2, size, size, size) for size in (4, 2, 1)]
    for logits, odds in zip(levels, (1, 3, 7), strict=True):
        logits[:, 1] = math.log(odds)
    found = loss(levels, torch.zeros(1, 1, 4, 4, 4)).item()
    assert found == pytest.approx((1 + 2 / 2 + 3 / 4) * math.log(2), rel=1e-5)


@pytest.mark.parametrize("word", ["loss=focal", "loss.lambda_ce=2", "+loss.more=1", "~loss.lambda_ce"])
def test_a_loss_that_the_task_does_not_train_with_is_refused(
    word: str, make_task: MakeTask, tmp_path: Path
) -> None:
    task = read_task(make_task(cases=2))
    regions = replace(task, regions={"whole": (1,)})
    kept = ("seed=1", "lossless=1", "model.loss=3")
    refuse_other_loss([word, *kept], task)
    refuse_other_loss([word.replace("loss", "region_loss", 1), *kept], regions)
    for wrong, of, instead in (
        (word, regions, "region_loss"),
        (word.replace("loss", "region_loss", 1), task, "loss"),
    ):
        with pytest.raises(InputError, match=f"set {instead} instead") as error:
            refuse_other_loss([*kept, wrong], of)
        assert str(error.value).startswith(wrong)
