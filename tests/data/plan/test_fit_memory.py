"""The memory budget's arithmetic, with a prediction that is known: 1 MB a thousand voxels of a batch."""

import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.plan import Plan, write_plan
from app.core.task import Task
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.fit_memory import MemoryBudget, plan_within
from app.data.plan.planner import make_plan
from app.data.plan.settings import PlanSettings
from app.data.sets.decathlon import read_task
from tests.support.config import AUTO, altered, fingerprint_of
from tests.support.volumes import MakeTask


def budget(limit_mb: float) -> MemoryBudget:
    def predict(plan: Plan) -> int:
        return 1000 * plan.batch * math.prod(plan.patch)

    return MemoryBudget(round(limit_mb * 1e6), predict)


def within(
    facts: Fingerprint, task: Task, settings: PlanSettings, limit: MemoryBudget
) -> tuple[Plan, dict[str, str]]:
    return plan_within(partial(make_plan, facts, task), facts, task, settings, limit)


@pytest.fixture
def large(make_task: MakeTask) -> tuple[Fingerprint, Task]:
    task = read_task(make_task(cases=2))
    return altered(fingerprint_of(task), median_size=(200, 200, 200)), task


def test_what_fits_is_left_alone(large: tuple[Fingerprint, Task]) -> None:
    plan, reasons = within(*large, AUTO, budget(250))
    assert plan.patch == (48, 48, 48) and plan.batch == 2
    assert "memory_gb" not in reasons["patch"]
    assert "plan.max_batch" in reasons["batch"]
    for number in (r"\b2\b", r"\b0\.2 GB"):  # patches per step, predicted memory
        assert re.search(number, reasons["batch"])


def test_the_patch_shrinks_first_and_then_the_batch(large: tuple[Fingerprint, Task]) -> None:
    plan, reasons = within(*large, AUTO, budget(150))
    assert plan.batch == 2 and 2 * math.prod(plan.patch) * 1000 <= 150e6
    for token in ("plan.memory_gb", "0.15"):
        assert token in reasons["patch"] and token not in reasons["batch"]
    plan, reasons = within(*large, AUTO, budget(40))
    assert plan.batch == 1 and math.prod(plan.patch) * 1000 <= 40e6
    for token in ("plan.memory_gb", "0.04"):
        assert token in reasons["batch"]


def test_a_plan_that_cannot_fit_is_refused_with_both_sizes(large: tuple[Fingerprint, Task]) -> None:
    with pytest.raises(InputError, match=r"plan\.memory_gb") as error:
        within(*large, AUTO, budget(10))
    sizes = sorted(re.findall(r"(\d\.\d\d) GB", str(error.value)))
    assert sizes[0] == "0.01" and 0.01 < float(sizes[1]) < 0.1
    for key in ("plan.patch", "plan.batch", "plan.base_width"):  # what to set smaller
        assert key in str(error.value)
    fixed = replace(AUTO, patch=(64, 64, 64), batch=2)
    with pytest.raises(InputError, match=r"plan\.memory_gb") as error:
        within(*large, fixed, budget(100))
    for token in ("0.10 GB", "0.52 GB", "[64, 64, 64]"):
        assert token in str(error.value)
    assert re.search(r"\b2\b", str(error.value))  # the batch


def test_a_plan_is_reused_by_path(large: tuple[Fingerprint, Task], tmp_path: Path) -> None:
    plan, reasons = within(*large, replace(AUTO, spacing=(3.0, 1.0, 1.0)), budget(250))
    write_plan(tmp_path / "plan.yaml", plan, reasons)
    reuse = replace(AUTO, file=str(tmp_path / "plan.yaml"))
    other = altered(large[0], median_size=(20, 20, 20), median_spacing=(9.0, 9.0, 9.0))
    again, why = within(altered(other, cases=900), large[1], reuse, budget(250))
    assert again == plan
    for name in ("steps", "spacing"):  # the reasons of the file, with its path
        assert str(tmp_path / "plan.yaml") in why[name] and reasons[name] in why[name]
    longer, why = within(other, large[1], replace(reuse, steps=9, foreground_share=0.6), budget(250))
    assert longer == replace(plan, steps=9, foreground_share=0.6)
    assert "plan.steps" in why["steps"] and str(tmp_path) not in why["steps"]
    assert str(tmp_path / "plan.yaml") in why["spacing"] and reasons["spacing"] in why["spacing"]
    changed, why = within(other, large[1], replace(reuse, batch=1, spacing=(2.0, 2.0, 2.0)), budget(250))
    assert changed == replace(plan, batch=1, spacing=(2.0, 2.0, 2.0))
    assert "plan.spacing" in why["spacing"] and str(tmp_path) not in why["spacing"]


def test_a_reused_first_stage_mirrors_the_labels_of_the_new_task(
    large: tuple[Fingerprint, Task], tmp_path: Path
) -> None:
    plan, reasons = within(*large, AUTO, budget(250))
    first = replace(plan, mirror=(0, 2, 1), train_minutes=3.0)
    before = replace(plan, locate=first, mirror=(0, 2, 1), minutes=30.0, train_minutes=20.0)
    write_plan(tmp_path / "plan.yaml", before, reasons)
    reuse = replace(AUTO, file=str(tmp_path / "plan.yaml"))
    again, _ = within(*large, reuse, budget(250))
    assert again.locate is not None and again.locate.mirror == again.mirror == (0, 1)
    assert again.minutes is again.train_minutes is again.locate.train_minutes is None


def test_the_normalisation_of_other_channels_is_planned_anew(
    large: tuple[Fingerprint, Task], tmp_path: Path
) -> None:
    path = tmp_path / "plan.yaml"
    write_plan(path, *within(*large, AUTO, budget(250)))
    two = replace(large[1], modalities=("CT", "MRI"))
    facts = altered(large[0], nonzero_share=(0.9, 0.1), intensities=2 * large[0].intensities)
    plan, reasons = within(facts, two, replace(AUTO, file=str(path)), budget(250))
    assert [each.scheme for each in plan.normalisation] == ["ct", "zscore_nonzero"]
    assert str(path) not in reasons["normalisation"] and str(path) in reasons["widths"]


def test_a_plan_that_cannot_be_reused_is_refused(large: tuple[Fingerprint, Task], tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    write_plan(path, *within(*large, AUTO, budget(250)))
    reuse = replace(AUTO, file=str(path))
    with pytest.raises(InputError, match=r"plan\.memory_gb") as error:
        within(*large, reuse, budget(100))
    for key in ("plan.patch", "plan.batch", "plan.widths"):  # what to set smaller
        assert key in str(error.value)
    with pytest.raises(InputError, match=r"plan\.strides") as error:
        within(*large, replace(reuse, strides=([1, 1, 1],)), budget(250))
    assert "plan.file" in str(error.value)


def test_levels_can_be_set(large: tuple[Fingerprint, Task]) -> None:
    strides = ([1, 1, 1], [1, 2, 2], [2, 2, 2])
    plan, reasons = within(*large, replace(AUTO, strides=strides, widths=(4, 6, 8)), budget(250))
    assert plan.strides == ((1, 1, 1), (1, 2, 2), (2, 2, 2)) and plan.widths == (4, 6, 8)
    assert plan.kernels == ((3, 3, 3),) * 3 and plan.total_stride == (2, 4, 4)
    assert "plan.strides" in reasons["strides"] and "plan.widths" in reasons["widths"]
    kernels = ([1, 3, 3], [1, 3, 3], [3, 3, 3])
    plan, reasons = within(*large, replace(AUTO, strides=strides, kernels=kernels), budget(250))
    assert plan.kernels[0] == (1, 3, 3) and "plan.kernels" in reasons["kernels"]
    with pytest.raises(InputError, match="widths") as error:
        within(*large, replace(AUTO, strides=strides, widths=(4, 6)), budget(250))
    for token in ("strides", "kernels"):
        assert token in str(error.value)
    for levels in (2, 3):  # of the widths, of the strides
        assert re.search(rf"\b{levels}\b", str(error.value))
