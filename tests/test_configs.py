"""Every option of every group composes and becomes what it promises."""

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_method, instantiate
from omegaconf import OmegaConf

from app.cli.config.build import build_sliding, build_tracker
from app.cli.config.optimizer import build_optimizer, build_schedule
from app.cli.config.settings import read_settings, section_values, train_settings
from app.cli.config.task import TaskSettings
from app.cli.sweep.jobs import plan_jobs, with_all_folds
from app.core.errors import InputError
from app.core.layout import read_layout
from app.data.plan.settings import PlanSettings
from app.data.sample.augment_settings import AugmentSettings
from app.infer.window.sliding import SlidingSettings
from tests.support.config import PLAN, composed

pytestmark = pytest.mark.e2e

GROUPS = {
    group.name: sorted(path.stem for path in group.glob("*.yaml"))
    for group in sorted(Path("conf").iterdir())
    if group.is_dir() and list(group.glob("*.yaml"))
}
STORED_SCHEDULE = {
    "_target_": "torch.optim.lr_scheduler.PolynomialLR",
    "_partial_": True,
    "total_iters": 400,
    "power": 0.9,
}
OPTIONS = [(group, option) for group, options in GROUPS.items() for option in options]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group: str, option: str) -> None:
    needed = ["task.folder=x"] if option == "decathlon" else []
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        whole = compose("config", [f"{group}={option}", *needed], return_hydra_config=True)
    assert whole.hydra.runtime.choices[group] == option


@pytest.mark.parametrize("option", GROUPS["mode"])
def test_every_mode_names_a_function(option: str) -> None:
    assert callable(get_method(composed(f"mode={option}").mode.run))


@pytest.mark.parametrize("option", GROUPS["task"])
def test_every_task_has_typed_facts(option: str) -> None:
    cfg = composed(f"task={option}", *(["task.folder=x"] if option == "decathlon" else []))
    assert read_settings(TaskSettings, section_values(cfg.task), "task").nsd_tolerance_mm > 0


@pytest.mark.parametrize(
    ("group", "cls"),
    [("augment", AugmentSettings), ("plan", PlanSettings)],
)
def test_every_section_of_numbers_is_typed(group: str, cls: type) -> None:
    for option in GROUPS[group]:
        assert isinstance(read_settings(cls, composed(f"{group}={option}")[group], group), cls)
    for option in GROUPS["sliding"]:
        assert isinstance(build_sliding(composed(f"sliding={option}"), []), SlidingSettings)


@pytest.mark.parametrize("option", GROUPS["train"])
def test_every_training_is_typed(option: str) -> None:
    cfg = composed(f"train={option}", "task=hippocampus")
    assert train_settings(cfg.train).with_steps(PLAN.steps).total_steps > 0


@pytest.mark.parametrize(
    ("overrides", "planned", "steps"),
    [
        ([], None, PLAN.steps),
        (["plan.steps=30"], 30, 30),
        (["task.steps=40"], 40, 40),
        (["task.steps=40", "plan.steps=30", "train.steps=20"], 30, 20),
    ],
)
def test_steps_of_plan_task_or_training(overrides: list[str], planned: int | None, steps: int) -> None:
    cfg = composed("task=hippocampus", *overrides)
    assert read_settings(PlanSettings, cfg.plan, "plan").steps == planned  # make_plan takes them as they are
    settings = train_settings(cfg.train)
    assert settings.with_steps(planned or PLAN.steps, factor=2).total_steps == 2 * steps


@pytest.mark.parametrize("optimizer", GROUPS["optimizer"])
@pytest.mark.parametrize("schedule", GROUPS["schedule"])
def test_every_optimizer_runs_with_every_schedule(optimizer: str, schedule: str) -> None:
    cfg = composed(f"optimizer={optimizer}", f"schedule={schedule}")
    weight = torch.nn.Parameter(torch.ones(3))
    made = build_optimizer(cfg)([weight])
    scheduler = build_schedule(cfg)(made, 20)
    rates = []
    for _ in range(20):
        weight.sum().backward()
        made.step()
        rates.append(made.param_groups[0]["lr"])
        scheduler.step()
    assert made.param_groups[0]["lr"] < 0.05 * max(rates)


def test_a_schedule_of_an_earlier_run_has_its_steps_already() -> None:
    cfg = composed()
    stored = OmegaConf.create({**{key: cfg[key] for key in cfg}, "schedule": {**STORED_SCHEDULE}})
    optimizer = build_optimizer(stored)([torch.nn.Parameter(torch.ones(3))])
    assert build_schedule(stored)(optimizer, 7).total_iters == 400


@pytest.mark.parametrize("option", GROUPS["loss"])
def test_every_loss_falls_with_the_right_answer(option: str) -> None:
    loss = instantiate(composed(f"loss={option}").loss, _convert_="all")
    labels = torch.randint(0, 3, (2, 1, 4, 4, 4))
    right = 20.0 * torch.nn.functional.one_hot(labels[:, 0], 3).movedim(-1, 1) - 10  # sure by sigmoid too
    assert loss(right, labels.float()) < 0.1 < loss(-right, labels.float())


@pytest.mark.parametrize("option", GROUPS["track"])
def test_every_tracker_follows_or_says_what_to_install(option: str, tmp_path: Path) -> None:
    cfg = composed(f"track={option}", "choices.task=blobs")
    if option in ("mlflow", "wandb"):
        cfg.track.folder = str(tmp_path / "store")
    try:
        build_tracker(cfg, tmp_path, resumed=False).follow([{"step": 1, "train_loss": 0.5}])
    except InputError as error:
        assert find_spec(option) is None
        for token in (f"track={option}", f'"{option}>='):  # what was chosen, and the package to install
            assert token in str(error)


@pytest.mark.parametrize("option", GROUPS["sweep"])
def test_every_sweep_has_jobs_that_compose(option: str) -> None:
    cfg = composed(f"sweep={option}")
    texts = section_values(cfg.sweep.jobs)
    lines = {name: with_all_folds(line, range(cfg.folds)) for name, line in texts.items()}
    jobs = plan_jobs(lines, [f"sweep={option}"])
    assert cfg.sweep.baseline in {job.group for job in jobs}
    for line in {tuple(word for word in job.overrides if not word.startswith("seed=")) for job in jobs}:
        composed(*line)


@pytest.mark.parametrize("option", GROUPS["sweep"])
def test_no_sweep_takes_a_layout_that_was_searched_on_held_out_cases(option: str) -> None:
    cfg = composed(f"sweep={option}")
    for job in plan_jobs(section_values(cfg.sweep.jobs), [f"sweep={option}"]):
        path = job.choices.get("op.layout", "@")
        if not path.startswith("@"):
            assert read_layout(Path(path)).provenance["fold"] == cfg.fold


@pytest.mark.parametrize("option", GROUPS["op"])
def test_the_decoder_takes_every_operator(option: str) -> None:
    assert composed(f"op={option}").op == composed(f"op@decoder_op={option}").decoder_op
    assert "_target_" not in composed(f"op={option}").decoder_op  # it follows the encoder


def test_what_is_mirrored_follows_what_training_flips() -> None:
    assert build_sliding(composed(), [2]).mirror_axes == (2,)
    assert build_sliding(composed(), []).mirror_axes == ()
    assert build_sliding(composed("sliding.mirror_axes=[0]"), [0, 1]).mirror_axes == (0,)
    whole, fast = build_sliding(composed(), [2]), build_sliding(composed("sliding=fast"), [2])
    assert fast == replace(whole, overlap=0.25)
    with pytest.raises(InputError, match="mirror_axes") as error:
        build_sliding(composed("sliding.mirror_axes=[1,2]"), [2])
    for token in ("[1, 2]", "[2]"):  # the value, and the axes that training flips
        assert token in str(error.value)


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ({"overlap": "abc", "windows": 1, "mirror_axes": []}, [r"sliding\.overlap", "abc"]),
        ({"overlap": 0.5, "windows": 1}, [r"sliding\.mirror_axes"]),
        ({"overlap": 0.5, "windows": 1, "mirror_axes": [], "window": 3}, [r"sliding\.window\b"]),
    ],
)
def test_wrong_settings_are_one_line_with_key_and_value(values: dict[str, object], tokens: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read_settings(SlidingSettings, OmegaConf.create(values), "sliding")
    for token in tokens:
        assert re.search(token, str(error.value))
    assert "\n" not in str(error.value)
