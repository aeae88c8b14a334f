import math
from dataclasses import replace
from typing import Any

import pytest

from app.core.plan import Plan
from app.core.types import Spacing
from app.data.plan.in_time import Pace, list_grids, plan_in_time
from app.data.plan.planner import make_plan
from app.data.plan.stages import plan_in_two_stages
from app.data.sets.decathlon import read_task
from tests.support.config import AUTO, altered, fingerprint_of
from tests.support.volumes import MakeTask


def pace(seconds_a_voxel: float, other: float = 0.0, fits: float = math.inf) -> Pace:
    """A machine on which a step takes so long for each voxel of a patch, more in wider networks."""

    def step_seconds(plan: Plan) -> float:
        return seconds_a_voxel * math.prod(plan.patch) * (plan.widths[0] / 16) ** 1.6

    return Pace(
        step_seconds, step_seconds, lambda plan, patches: min(0.1, 0.02 * patches), other,
        lambda plan: math.prod(plan.patch) <= fits,
    )  # fmt: skip


def planned(
    make_task: MakeTask,
    minutes: float,
    speed: Pace,
    ceilings: Any = lambda grids: [1.0] * len(grids),
    **changes: Any,
) -> tuple[Plan, dict[str, str]]:
    """Scans of 100 x 200 x 200 mm in voxels of 1 mm, whose labels lie all over them."""
    task = read_task(make_task(cases=2))
    settings = {"base_width": None, "max_width": None}
    given = ("stages", "spacing", "base_width", "max_width", "max_patch_voxels", "widths", "strides")
    settings |= {"max_patch_voxels": None, **{key: changes.pop(key) for key in given if key in changes}}
    facts = altered(
        fingerprint_of(task),
        **{
            **{"cases": 40, "median_size": (100, 200, 200), "median_spacing": (1.0, 1.0, 1.0)},
            "foreground_mm": (90.0, 190.0, 190.0),
            **changes,
        },
    )
    return plan_in_time(
        facts, task, replace(AUTO, **settings), minutes=minutes, pace=speed,
        ceilings=ceilings,
    )  # fmt: skip


def test_a_coarser_grid_lets_a_patch_hold_the_scan_where_time_is_short(make_task: MakeTask) -> None:
    plans = [planned(make_task, minutes, pace(4e-6))[0] for minutes in (10, 30, 480)]
    grids = [plan.spacing[0] for plan in plans]
    assert grids == sorted(grids, reverse=True) and grids[0] > 2 and grids[-1] < 1.3
    for plan in plans:
        seen = [n * mm for n, mm in zip(plan.patch, plan.spacing, strict=True)]
        assert all(mm >= 0.9 * whole for mm, whole in zip(seen, (100, 200, 200), strict=True))


@pytest.mark.parametrize("minutes", [10, 30, 120])
def test_steps_fill_the_time_that_all_else_leaves(make_task: MakeTask, minutes: float) -> None:
    speed = pace(4e-6, other=120)
    plan, reasons = planned(make_task, minutes, speed)
    training = plan.steps * speed.step_seconds(plan)
    patches = max(1.0, math.prod((100, 200, 200)) / math.prod(plan.patch) / math.prod(plan.spacing))
    training *= 1 + min(0.1, 0.02 * patches)
    assert training + 120 == pytest.approx(60 * minutes, rel=0.01)
    assert plan.train_minutes == pytest.approx(training / 60, abs=0.01)
    assert "plan.minutes" in reasons["steps"]


def test_a_grid_that_loses_too_much_is_not_taken_and_the_patch_becomes_a_part(make_task: MakeTask) -> None:
    def ceilings(grids: list[Spacing]) -> list[float]:
        return [1.0 if grid[0] < 1.3 else 0.6 for grid in grids]

    plan, reasons = planned(make_task, 10, pace(4e-6), ceilings)
    assert plan.spacing[0] < 1.3 and math.prod(plan.patch) < 100 * 200 * 200 / 1.26**3
    assert "plan.max_patch_voxels" in reasons["patch"]
    assert "coarsest" in reasons["spacing"] and "finest" not in reasons["spacing"]


def test_time_that_is_left_widens_the_network_unless_widths_are_set(make_task: MakeTask) -> None:
    narrow, wide = (planned(make_task, minutes, pace(1e-8))[0] for minutes in (1, 100))
    assert narrow.widths[0] == 16 and wide.widths[0] > 16
    assert planned(make_task, 100, pace(1e-8), base_width=16)[0].widths[0] == 16


@pytest.mark.parametrize("size", [(24, 140, 60), (37, 61, 95), (100, 200, 200)])
def test_a_wider_network_keeps_the_patch(make_task: MakeTask, size: tuple[int, int, int]) -> None:
    speed, scans = pace(1e-8), {"median_size": size, "foreground_mm": tuple(map(float, size))}
    narrow = planned(make_task, 100, speed, base_width=16, **scans)[0]
    wide = planned(make_task, 100, speed, **scans)[0]
    assert wide.widths[:3] == tuple(wide.widths[0] * 2**level for level in range(3))
    assert wide.widths[0] > 16 and replace(wide, widths=narrow.widths, steps=narrow.steps) == replace(
        narrow, minutes=wide.minutes, train_minutes=wide.train_minutes
    )


def test_a_first_stage_finds_labels_that_lie_in_a_small_part(make_task: MakeTask) -> None:
    plan, reasons = planned(make_task, 30, pace(4e-6), foreground_mm=(60.0, 60.0, 60.0))
    assert plan.locate is not None
    assert math.prod(plan.locate.patch) < 100_000 and plan.locate.spacing[0] > 3
    seen = [n * mm for n, mm in zip(plan.patch, plan.spacing, strict=True)]
    assert max(seen) < 100 and min(seen) >= 60
    assert set(reasons) == set(plan.to_dict())


@pytest.mark.parametrize(
    ("changes", "ceiling"),
    [
        ({"foreground_mm": (90.0, 190.0, 190.0)}, 1.0),
        ({"foreground_mm": (9.0,) * 3}, 0.3),
        ({"stages": 1}, 1.0),
    ],
)
def test_one_stage_where_labels_are_all_over_or_not_to_be_seen_or_it_is_set(
    make_task: MakeTask, changes: dict[str, Any], ceiling: float
) -> None:
    given = {"foreground_mm": (60.0, 60.0, 60.0), **changes}
    plan, _ = planned(
        make_task,
        30,
        pace(4e-6),
        lambda grids: [ceiling if min(grid) > 4 else 1.0 for grid in grids],
        **given,
    )
    assert plan.locate is None


def test_a_small_scan_is_seen_whole_in_one_stage(make_task: MakeTask) -> None:
    plan, reasons = planned(
        make_task, 30, pace(4e-6), foreground_mm=(10.0, 10.0, 10.0), median_size=(40, 50, 50)
    )
    assert plan.locate is None and "40x50x50" in reasons["locate"]


@pytest.mark.parametrize("other", [1500.0, 100_000.0])
def test_training_takes_half_of_the_minutes_however_long_reading_takes(
    make_task: MakeTask, other: float
) -> None:
    plan, reasons = planned(make_task, 30, pace(4e-6, other=other))
    assert plan.minutes == pytest.approx(15 + other / 60, rel=0.01)
    assert math.prod(plan.patch) > 20_000 and "reading" in reasons["minutes"]


def test_steps_end_at_a_quarter_of_a_million_and_time_to_spare_shows_more_around(
    make_task: MakeTask,
) -> None:
    given: dict[str, Any] = {"foreground_mm": (60.0, 60.0, 60.0)}
    spare, plenty = (planned(make_task, 100, pace(speed), **given)[0] for speed in (2e-8, 1e-12))
    assert spare.steps < 250_000 == plenty.steps
    assert max(spare.patch) <= 80 and min(plenty.patch) > 95 and (plenty.minutes or 9) < 1


def test_memory_and_a_bound_on_patches_make_the_grid_coarser_before_the_patch_is_a_part(
    make_task: MakeTask,
) -> None:
    free = planned(make_task, 480, pace(4e-6))[0]
    tight = planned(make_task, 480, pace(4e-6, fits=300_000))[0]
    bound, reasons = planned(make_task, 480, pace(4e-6), max_patch_voxels=300_000)
    assert free.spacing[0] < tight.spacing[0] == bound.spacing[0]
    assert max(math.prod(plan.patch) for plan in (tight, bound)) <= 300_000
    assert "more than allowed" in reasons["spacing"]
    part, _ = planned(make_task, 480, pace(4e-6, fits=40_000), spacing=(1.0, 1.0, 1.0))
    assert math.prod(part.patch) <= 40_000


def test_a_width_that_is_set_is_never_exceeded(make_task: MakeTask) -> None:
    plan, _ = planned(make_task, 100, pace(1e-8), max_width=64)
    assert plan.widths[0] > 16 and max(plan.widths) == 64


def test_levels_that_are_set_are_kept(make_task: MakeTask) -> None:
    strides = ([1, 1, 1], [2, 2, 2], [2, 2, 2])
    plan, _ = planned(make_task, 30, pace(4e-6), strides=strides, widths=(8, 16, 24))
    assert plan.widths == (8, 16, 24) and plan.total_stride == (4, 4, 4)


def test_two_stages_without_foreground_leave_the_whole_scan(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    empty = altered(fingerprint_of(task), median_size=(200, 200, 200), foreground_mm=(0.0, 0.0, 0.0))
    two, _ = plan_in_two_stages(empty, task, replace(AUTO, stages=2))
    one, _ = make_plan(empty, task, AUTO)
    assert two == one


def test_data_without_foreground_are_planned_in_one_stage(make_task: MakeTask) -> None:
    plan, reasons = planned(make_task, 30, pace(4e-6), foreground_mm=(0.0, 0.0, 0.0))
    assert plan.locate is None and "foreground" in reasons["locate"]


def test_slices_far_apart_stay_as_they_are_while_the_plane_grows_coarser(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    facts = altered(fingerprint_of(task), median_spacing=(10.0, 1.5, 1.5))
    grids = list_grids(facts, AUTO)
    assert grids[0] == (10.0, 1.5, 1.5) and {grid[0] for grid in grids} == {10.0}
    assert list_grids(facts, replace(AUTO, spacing=(2.0, 2.0, 2.0))) == [(2.0, 2.0, 2.0)]
