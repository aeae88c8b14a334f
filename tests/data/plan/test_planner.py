import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.errors import InputError
from app.data.plan.label_coverage import BOX_SHARES
from app.data.plan.planner import make_plan
from app.data.plan.reasons import patch_reason
from app.data.sets.decathlon import read_task
from tests.support.config import AUTO, altered, fingerprint_of
from tests.support.volumes import REAL_DATA, MakeTask

ALWAYS, NEVER = (1.0,) * len(BOX_SHARES), (0.0,) * len(BOX_SHARES)


def test_fingerprint_figures_by_hand(make_task: MakeTask) -> None:
    affine = np.diag([0.5, 1.0, 3.0, 1.0])
    task = read_task(make_task(cases=3, shape=(12, 14, 16), affine=affine))
    fingerprint = fingerprint_of(task)
    assert fingerprint.cases == 3
    assert fingerprint.median_size == (16, 14, 12)
    assert fingerprint.median_spacing == (3.0, 1.0, 0.5)
    assert fingerprint.nonzero_share == (1.0,)
    (intensities,) = fingerprint.intensities
    assert abs(intensities.mean - 150) < 3 and abs(intensities.std - 20) < 3


def test_small_scans_are_taken_whole(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    plan, reasons = make_plan(altered(fingerprint_of(task), median_size=(35, 50, 35)), task, AUTO)
    assert plan.patch == (40, 56, 40)
    assert plan.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert plan.widths == (16, 32, 64, 128)
    assert set(reasons) == set(plan.to_dict())
    for size in ("35x50x35", "40x56x40 mm"):  # of a typical scan, of what the network sees
        assert size in reasons["patch"]


def test_patches_are_rounded_down_where_up_would_add_much(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    scans = altered(fingerprint_of(task), median_size=(38, 66, 66))
    plan, reasons = make_plan(scans, task, replace(AUTO, max_patch_voxels=200_000))
    assert plan.total_stride == (8, 16, 16) and plan.patch == (40, 64, 64)
    assert "38x66x66" in reasons["patch"]


def test_whole_scans_nearly_whole_ones_and_parts_are_told_apart() -> None:
    scan = (38, 66, 66)
    reasons = [
        patch_reason(patch, scan, (1.0, 1.0, 1.0), most)
        for patch, most in (((40, 80, 80), 200_000), ((40, 64, 64), 200_000), ((24, 48, 48), 60_000))
    ]
    assert all("38x66x66" in reason for reason in reasons)
    assert ["plan.max_patch_voxels" in reason for reason in reasons] == [False, False, True]
    assert len({re.sub(r"\d", "", reason) for reason in reasons}) == 3  # other words, not only other numbers


def test_coarse_slices_are_neither_pooled_nor_convolved_until_the_plane_has_caught_up(
    make_task: MakeTask,
) -> None:
    task = read_task(make_task(cases=2))
    thick = altered(
        fingerprint_of(task),
        median_size=(24, 320, 320),
        median_spacing=(5.0, 0.7, 0.7),
    )
    plan, reasons = make_plan(thick, task, AUTO)
    assert plan.spacing == (5.0, 0.7, 0.7) and "stacks" in reasons["spacing"]
    assert plan.kernels[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))
    assert plan.strides[1:3] == ((1, 2, 2), (1, 2, 2))
    assert np.prod(plan.patch) <= 1.3 * AUTO.max_patch_voxels


def test_normalisation_follows_the_modality(make_task: MakeTask) -> None:
    ct = read_task(make_task(cases=2, modality="CT"))
    plan, reasons = make_plan(fingerprint_of(ct), ct, AUTO)
    assert plan.normalisation[0].scheme == "ct" and plan.normalisation[0].high > 150
    for number in (101, 201, 149, 20):  # lowest, highest, mean and deviation
        assert re.search(rf"\b{number}\b", reasons["normalisation"])
    mr = replace(ct, modalities=("FLAIR",))
    sparse = altered(fingerprint_of(mr), nonzero_share=(0.4,))
    plan, reasons = make_plan(sparse, mr, AUTO)
    assert plan.normalisation[0].scheme == "zscore_nonzero"
    for token in ("FLAIR", "60 %"):  # the share of voxels that are 0
        assert token in reasons["normalisation"]
    assert (
        make_plan(sparse, mr, replace(AUTO, normalisation=("zscore",)))[0].normalisation[0].scheme == "zscore"
    )


def test_settings_go_before_the_plan(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    fixed = replace(
        AUTO, spacing=(2, 1, 1), patch=(16, 16, 16), batch=3, max_levels=3, base_width=8, max_width=16
    )
    plan, reasons = make_plan(fingerprint_of(task), task, fixed)
    assert (plan.spacing, plan.patch, plan.batch) == ((2.0, 1.0, 1.0), (16, 16, 16), 3)
    assert plan.widths == (8, 16, 16) and "plan.patch" in reasons["patch"]


def test_a_label_that_patches_rarely_meet_is_drawn_more_often(make_task: MakeTask) -> None:
    task = replace(read_task(make_task(cases=2)), labels=("background", "liver", "tumour"))
    read = fingerprint_of(replace(task, labels=task.labels[:2]))
    rare = tuple(0.1 * share for share in BOX_SHARES)
    large = altered(read, median_size=(200, 200, 200))

    def planned(*met: tuple[float, ...], **fixed: Any) -> tuple[float, str]:
        plan, reasons = make_plan(
            altered(large, coverage=met), task, replace(AUTO, patch=(50, 50, 50), **fixed)
        )
        return plan.foreground_share, reasons["foreground_share"]

    def facts(reason: str) -> list[str]:
        """Return the percentages and labels that a reason names."""
        return re.findall(r"\b\d+ %|\bliver\b|\btumour\b", reason)

    share, reason = planned(ALWAYS, rare, max_levels=1)
    assert share == round(0.67 - 0.17 * 0.1 / 4, 2) == 0.67
    assert facts(reason) == ["2 %", "tumour", "50 %", "67 %"]
    share, reason = planned(ALWAYS, ALWAYS, max_levels=1)
    assert share == 0.5 and facts(reason) == ["50 %"]
    half = tuple(0.5 for _ in BOX_SHARES)
    assert planned(half, NEVER, max_levels=1)[0] == 0.58  # no case has a tumour
    share, reason = planned(NEVER, NEVER, max_levels=1)
    assert share == 0.5 and reason and facts(reason) == []
    share, reason = planned(ALWAYS, rare, max_levels=1, foreground_share=0.9)
    assert share == 0.9 and "plan.foreground_share" in reason


@pytest.mark.parametrize(
    ("cases", "size", "steps", "tokens"),
    [
        (219, 35, 2000, ["18", "plan.passes", "219", "1", "2"]),  # passes, scans, patches of each, per step
        (60, 80, 2200, ["18", "plan.passes", "60", "4", "2"]),
        (10, 35, 400, ["10", "100", "400"]),  # fewer than the least
        (500, 80, 4000, ["500", "18000", "plan.max_steps"]),  # more than the most
    ],
)
def test_steps_follow_the_amount_of_data(
    make_task: MakeTask, cases: int, size: int, steps: int, tokens: list[str]
) -> None:
    task = read_task(make_task(cases=2))
    data = altered(fingerprint_of(task), cases=cases, median_size=(size,) * 3)
    plan, reasons = make_plan(data, task, replace(AUTO, patch=(40, 40, 80), max_levels=1))
    assert plan.steps == steps
    for token in tokens:
        assert re.search(rf"\b{re.escape(token)}\b", reasons["steps"])
    assert ("plan.max_steps" in reasons["steps"]) == (steps == AUTO.max_steps)
    set_, reasons = make_plan(data, task, replace(AUTO, steps=7))
    assert set_.steps == 7
    for key in ("plan.steps", "task.steps"):
        assert key in reasons["steps"]


def test_impossible_settings_are_named(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    for changes, message in (
        ({"patch": (16, 16)}, "plan.patch"),
        ({"batch": 0}, "plan.batch"),
        ({"spacing": (0, 1, 1)}, "plan.spacing"),
        ({"foreground_share": -0.1}, "plan.foreground_share"),
        ({"steps": 0}, "plan.steps"),
        ({"passes": 0}, "plan.passes"),
    ):
        with pytest.raises(InputError, match=message):
            replace(AUTO, **changes)
    with pytest.raises(InputError, match=r"plan\.normalisation") as error:
        make_plan(fingerprint_of(task), task, replace(AUTO, normalisation=("ct", "ct")))
    for count in (2, 1):  # schemes given, modalities
        assert re.search(rf"\b{count}\b", str(error.value))


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="real data sets are not here")
def test_sarcoma_needs_no_special_case() -> None:
    folder: Path = REAL_DATA / "Task50_SoftTissueSarcoma"
    task = read_task(folder)
    some = replace(task, cases=task.cases[:4])
    plan, _ = make_plan(fingerprint_of(some), some, AUTO)
    assert [channel.scheme for channel in plan.normalisation] == ["ct", "zscore"]
    assert plan.spacing[0] > plan.spacing[1]
