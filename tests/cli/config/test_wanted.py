"""What an error says about a value of the wrong type: the key, the value and the type in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from app.cli.config.command_settings import command_settings
from app.cli.config.optimizer import build_optimizer, build_schedule, build_updates
from app.cli.config.settings import measures_speed, read_part, read_settings
from app.cli.config.wanted import check_arguments, wrong_type
from app.core.errors import InputError
from app.models.unet import UNetModel
from app.operators.cakes import Cakes
from tests.support.config import composed


@dataclass(frozen=True)
class Outer:
    """A section with a field of every kind."""

    steps: int | None = None
    switch: bool = False
    size: tuple[int, ...] = ()
    range: tuple[float, float] = (0.0, 1.0)
    grid: tuple[list[int], ...] | None = None
    names: dict[str, Any] | None = None
    limits: dict[str, float | None] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": "abc"}, "part.steps: got 'abc', wanted a whole number or null"),
        ({"steps": 1.5}, "part.steps: got 1.5, wanted a whole number or null"),
        ({"switch": "maybe"}, "part.switch: got 'maybe', wanted true or false"),
        ({"switch": None}, "part.switch: got null, wanted true or false"),
        ({"size": 64}, "part.size: got 64, wanted a list of whole numbers"),
        ({"size": [1, "a"]}, "part.size[1]: got 'a', wanted a whole number"),
        ({"range": "abc"}, "part.range: got 'abc', wanted a list of 2 numbers"),
        ({"grid": [1, 2]}, "part.grid: got [1, 2], wanted a list or null"),
        ({"names": "gpu"}, "part.names: got 'gpu', wanted values by name, such as {name: value} or null"),
        ({"limits": {"macs": "abc"}}, "part.limits.macs: got 'abc', wanted a number or null"),
    ],
)
def test_a_setting_of_the_wrong_type_is_named_with_the_value_and_the_type(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        read_settings(Outer, given, "part")
    assert str(error.value) == message


def test_a_type_without_words_has_no_message() -> None:
    assert wrong_type("a.b", 1, Any) is None
    assert wrong_type("a.b", 1, Callable[[], int]) is None
    assert wrong_type("a.b", "x", int | float) == "a.b: got 'x', wanted a number"


@pytest.mark.parametrize(
    ("make", "values", "message"),
    [
        (Cakes, {"align": "abc"}, "op.align: got 'abc', wanted a whole number"),
        (Cakes, {"align": 1.5}, "op.align: got 1.5, wanted a whole number"),
        (UNetModel, {"encoder_blocks": "abc"}, "a whole number or a list of whole numbers"),
        (torch.optim.AdamW, {"lr": "abc"}, "op.lr: got 'abc', wanted a number"),
        (torch.optim.AdamW, {"lr": [1]}, "op.lr: got [1], wanted a number"),
        (torch.optim.lr_scheduler.PolynomialLR, {"power": "abc"}, "op.power: got 'abc', wanted a number"),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused(
    make: Callable[..., Any], values: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        check_arguments(make, values, "op")
    assert message in str(error.value) and len(str(error.value).splitlines()) == 1


def anything(
    number: float | torch.Tensor, any_of: Any, text: str | float, many: Sequence[int] | int, on: bool
) -> None:
    """Take arguments of the kinds that other libraries have."""


@pytest.mark.parametrize(
    "values",
    [
        {"number": 1, "any_of": "abc", "text": "abc", "many": [1, 2], "on": True},
        {"number": 0.5, "any_of": [1], "text": 1, "many": 3, "unknown": "abc"},
        {"number": None, "many": 2.0, "on": 1},
    ],
)
def test_arguments_that_may_be_right_are_left_to_the_function(values: Mapping[str, Any]) -> None:
    check_arguments(anything, values, "op")
    check_arguments(partial(anything), values, "op")


def test_the_optimizer_and_the_schedule_are_checked() -> None:
    with pytest.raises(InputError, match=r"optimizer\.lr: got 'abc'"):
        build_optimizer(composed("optimizer.lr=abc"))
    optimizer = torch.optim.AdamW([torch.zeros(1)])
    with pytest.raises(InputError, match=r"schedule\.power: got 'abc'"):
        build_schedule(composed("schedule.power=abc"))(optimizer, 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer=sgd", "optimizer.momentum=0"], "optimizer: torch.optim.SGD .*Nesterov"),
        (["optimizer.lr=-1"], "optimizer.lr: got -1"),
        (["optimizer.lr=null"], "optimizer.lr: got null"),
        (["optimizer._target_=torch.optim.Adamm"], "optimizer._target_: got 'torch.optim.Adamm'"),
        (["schedule._target_=nowhere.Poly"], "schedule._target_: got 'nowhere.Poly'"),
        (["schedule=onecycle", "schedule.pct_start=2"], "schedule: torch.*OneCycleLR .*pct_start"),
        (["+schedule.speed=2"], "schedule: torch.*PolynomialLR .*speed"),
    ],
)
def test_what_the_optimizer_or_the_schedule_refuses_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        build_updates(composed(*words))
    assert len(str(error.value).splitlines()) == 1


def test_steps_that_a_schedule_cannot_divide_are_named() -> None:
    make_optimizer, make_schedule = build_updates(composed("schedule=onecycle"))
    with pytest.raises(InputError, match=r"OneCycleLR .*10 steps"):  # a tenth of which is one
        make_schedule(make_optimizer([torch.nn.Parameter(torch.ones(1))]), 10)


def test_an_optimizer_without_a_rate_has_its_own() -> None:
    cfg = composed("optimizer=adamw")
    kept = {key: value for key, value in cfg.optimizer.items() if key != "lr"}
    make, _ = build_updates(OmegaConf.create({"optimizer": kept, "schedule": cfg.schedule}))
    assert make([torch.nn.Parameter(torch.ones(1))]).param_groups[0]["lr"] == 1e-3


@dataclass(frozen=True)
class Part:
    """Two keys of a section."""

    finetune: bool
    cases: int | None = None


@pytest.mark.parametrize("word", ["no", "off", "false"])
def test_a_part_of_a_section_is_read_by_its_types(word: str) -> None:
    assert read_part(Part, OmegaConf.create({"finetune": word, "other": 1}), "part") == Part(False, None)
    with pytest.raises(InputError, match=r"part\.cases: got 'abc', wanted a whole number"):
        read_part(Part, OmegaConf.create({"finetune": word, "cases": "abc"}), "part")


def test_words_for_no_switch_nothing_on() -> None:
    assert not measures_speed(composed("train.yardstick=no").train)


@pytest.fixture(scope="module")
def settings() -> DictConfig:
    return composed()


@pytest.mark.parametrize(
    "word",
    [
        *("seed=abc", "seed=-3", "split_seed=1.5", "folds=abc", "threads=abc", "threads=0"),
        *("paths.cache=null", "paths.run=null"),
    ],
)
def test_settings_outside_of_sections_are_checked(word: str, settings: DictConfig) -> None:
    key, _, value = word.partition("=")
    settings = OmegaConf.merge(settings, {"paths": {"run": "runs"}})  # the default needs Hydra
    with pytest.raises(InputError) as error:
        command_settings(OmegaConf.merge(settings, OmegaConf.from_dotlist([word])))
    assert str(error.value).startswith(f"{key}: got ") and value in str(error.value)
