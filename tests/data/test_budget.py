"""The memory budget's arithmetic, with a prediction that is known: 1 MB a thousand voxels of a batch."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import MakeTask
from test_planner import AUTO, altered, fingerprint_of

from app.core.errors import InputError
from app.core.plan import Plan, write_plan
from app.core.task import Task
from app.data.budget import MemoryBudget, plan_within
from app.data.decathlon import read_task
from app.data.fingerprint import Fingerprint


def budget(limit_mb: float) -> MemoryBudget:
    def predict(plan: Plan) -> int:
        return 1000 * plan.batch * math.prod(plan.patch)

    return MemoryBudget(round(limit_mb * 1e6), predict)


@pytest.fixture
def large(make_task: MakeTask) -> tuple[Fingerprint, Task]:
    task = read_task(make_task(cases=2))
    return altered(fingerprint_of(task), median_size=(200, 200, 200)), task


def test_what_fits_is_left_alone(large: tuple[Fingerprint, Task]) -> None:
    plan, reasons = plan_within(*large, AUTO, budget(250))
    assert plan.patch == (48, 48, 48) and plan.batch == 2
    assert "memory_gb" not in reasons["patch"]
    assert reasons["batch"] == "2 patches a step (plan.max_batch); a training takes about 0.2 GB of memory"


def test_the_patch_shrinks_first_and_then_the_batch(large: tuple[Fingerprint, Task]) -> None:
    plan, reasons = plan_within(*large, AUTO, budget(150))
    assert plan.batch == 2 and 2 * math.prod(plan.patch) * 1000 <= 150e6
    assert reasons["patch"].endswith("to fit plan.memory_gb 0.15")
    plan, reasons = plan_within(*large, AUTO, budget(40))
    assert plan.batch == 1 and math.prod(plan.patch) * 1000 <= 40e6
    assert "to fit plan.memory_gb" in reasons["batch"]


def test_what_cannot_fit_is_said(large: tuple[Fingerprint, Task]) -> None:
    with pytest.raises(
        InputError, match=r"plan.memory_gb: got 0.01 GB, patch .* need about 0.0\d GB; .*base_width$"
    ):
        plan_within(*large, AUTO, budget(10))
    fixed = replace(AUTO, patch=(64, 64, 64), batch=2)
    with pytest.raises(InputError, match=r"patch \[64, 64, 64\] and batch 2 need about 0.52 GB"):
        plan_within(*large, fixed, budget(100))


def test_a_plan_is_reused_by_path(large: tuple[Fingerprint, Task], tmp_path: Path) -> None:
    plan, reasons = plan_within(*large, replace(AUTO, spacing=(3.0, 1.0, 1.0)), budget(250))
    write_plan(tmp_path / "plan.yaml", plan, reasons)
    reuse = replace(AUTO, file=str(tmp_path / "plan.yaml"))
    other = altered(large[0], median_size=(20, 20, 20), median_spacing=(9.0, 9.0, 9.0))
    again, why = plan_within(altered(other, cases=900), large[1], reuse, budget(250))
    assert again == plan and why["steps"].startswith(f"{tmp_path / 'plan.yaml'}: 18 passes")
    longer, why = plan_within(other, large[1], replace(reuse, steps=9, foreground_share=0.6), budget(250))
    assert longer == replace(plan, steps=9, foreground_share=0.6) and why["steps"].startswith("set by")
    assert again == plan and why["spacing"] == f"{tmp_path / 'plan.yaml'}: set by plan.spacing"
    changed, why = plan_within(other, large[1], replace(reuse, batch=1, spacing=(2.0, 2.0, 2.0)), budget(250))
    assert (
        changed == replace(plan, batch=1, spacing=(2.0, 2.0, 2.0)) and why["spacing"] == "set by plan.spacing"
    )
    with pytest.raises(InputError, match=r"set a smaller plan.patch, plan.batch or plan.widths$"):
        plan_within(other, large[1], reuse, budget(100))
    two = replace(large[1], modalities=("CT", "PET"))
    with pytest.raises(InputError, match=r"plan.file: .*plan.yaml: is for 1 channels, the task has 2"):
        plan_within(other, two, reuse, budget(250))
    with pytest.raises(InputError, match=r"plan.strides: the levels of a reused plan are fixed"):
        plan_within(other, large[1], replace(reuse, strides=([1, 1, 1],)), budget(250))


def test_levels_can_be_set(large: tuple[Fingerprint, Task]) -> None:
    strides = ([1, 1, 1], [1, 2, 2], [2, 2, 2])
    plan, reasons = plan_within(*large, replace(AUTO, strides=strides, widths=(4, 6, 8)), budget(250))
    assert plan.strides == ((1, 1, 1), (1, 2, 2), (2, 2, 2)) and plan.widths == (4, 6, 8)
    assert plan.kernels == ((3, 3, 3),) * 3 and plan.total_stride == (2, 4, 4)
    assert reasons["strides"] == "set by plan.strides" and reasons["widths"] == "set by plan.widths"
    kernels = ([1, 3, 3], [1, 3, 3], [3, 3, 3])
    plan, reasons = plan_within(*large, replace(AUTO, strides=strides, kernels=kernels), budget(250))
    assert plan.kernels[0] == (1, 3, 3) and reasons["kernels"] == "set by plan.kernels"
    with pytest.raises(InputError, match="one entry a level"):
        plan_within(*large, replace(AUTO, strides=strides, widths=(4, 6)), budget(250))
