from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.config.training import Planned, plan_configured
from app.core.errors import InputError
from app.data.sets.decathlon import read_task
from app.train import planning
from tests.support.config import altered, composed, fingerprint_of
from tests.support.volumes import MakeTask

GPU = "plan.device={kind: cuda, memory_gb: 80, gmac_per_s: 20000}"


@pytest.fixture
def plan(make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Plans":
    monkeypatch.setattr(planning, "step_seconds", lambda *_, **__: 0.05)
    return Plans(make_task(), tmp_path / "cache")


class Plans:
    """Plans of one task on a machine where every step takes 50 ms, by overrides."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._given = ("task=decathlon", f"task.folder={folder}", f"paths.cache={cache}", "threads=1")

    def __call__(self, *overrides: str) -> Planned:
        return plan_configured(composed(*self._given, *overrides))


@pytest.mark.e2e
def test_the_time_there_is_becomes_steps(plan: Plans) -> None:
    short, long = (plan(f"plan.minutes={minutes}").plan for minutes in (2, 20))
    assert short.minutes == pytest.approx(2, abs=0.1) and long.minutes == pytest.approx(20, abs=0.1)
    assert long.steps > 9 * short.steps > 0
    assert plan().plan.minutes == pytest.approx(30, abs=0.1)


@pytest.mark.e2e
@pytest.mark.parametrize("limit", ["plan.steps=70", "task.steps=70", "train.steps=70", "train.max_minutes=1"])
def test_steps_or_minutes_that_are_set_leave_time_unplanned(
    plan: Plans, limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert plan(limit).plan.minutes is None
    assert "plan.minutes" not in caplog.text
    assert plan(limit, "plan.minutes=5").plan.minutes is None
    key = limit.partition("=")[0].replace("task", "plan")
    assert f"plan.minutes: 5 has no effect, because {key} is set" in caplog.text
    assert plan("plan.minutes=null").plan.minutes is None


@pytest.mark.e2e
def test_another_device_gets_its_own_plan(plan: Plans) -> None:
    ours, theirs = plan("plan.minutes=1").plan, plan("plan.minutes=1", GPU).plan
    assert ours.widths[0] == 16 and theirs.widths[0] >= 32
    assert theirs.steps > ours.steps


def test_minutes_are_those_of_the_described_device(plan: Plans) -> None:
    cpu = "plan.device={kind: cpu, memory_gb: 16, gmac_per_s: 27}"
    assert plan(cpu).plan.minutes == pytest.approx(30, abs=0.2)


@pytest.mark.parametrize(("kept", "told"), [(0.96, 0), (0.9, 1)])
def test_labels_that_lose_much_on_the_grid_are_named(
    plan: Plans, kept: float, told: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(planning, "read_ceilings", lambda _, grids: [(kept,)] * len(grids))
    plan("plan.minutes=2")
    lines = [record.getMessage() for record in caplog.records if "plan.spacing" in record.getMessage()]
    assert len(lines) == told and all("blob 0.90" in line for line in lines)


def test_many_labels_leave_most_of_the_time_for_training(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    facts = altered(fingerprint_of(task), cases=100, median_size=(300, 300, 300))
    few, many = (
        planning._other_seconds(facts, replace(task, labels=tuple(map(str, range(count)))))
        for count in (3, 118)
    )
    assert few < many < 2 * few


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("plan.minutes=-1", r"plan\.minutes"),
        ("plan.minutes=soon", r"plan\.minutes"),
        ("plan.stages=3", r"plan\.stages"),
        ("plan.device={kind: tpu}", r"plan\.device"),
        ("plan.device={kind: cuda, memory_gb: 80}", r"plan\.device"),
    ],
)
def test_what_cannot_be_planned_for_is_refused(plan: Plans, setting: str, key: str) -> None:
    with pytest.raises(InputError, match=key):
        plan(setting)
