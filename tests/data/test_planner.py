from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REAL_DATA, MakeTask

from app.core.errors import InputError
from app.core.task import Task
from app.data.decathlon import read_task
from app.data.fingerprint import Fingerprint, case_facts, summarise
from app.data.planner import PlanSettings, make_plan

AUTO = PlanSettings(
    file=None,
    spacing=None,
    patch=None,
    batch=None,
    max_batch=2,
    base_width=16,
    max_width=128,
    max_levels=6,
    widths=None,
    strides=None,
    kernels=None,
    max_patch_voxels=100_000,
    memory_gb=None,
    normalisation=None,
)


def fingerprint_of(task: Task) -> Fingerprint:
    return summarise([case_facts(case, task) for case in task.cases])


def altered(fingerprint: Fingerprint, **changes: Any) -> Fingerprint:
    return replace(fingerprint, **changes)


def test_fingerprint_figures_by_hand(make_task: MakeTask) -> None:
    affine = np.diag([0.5, 1.0, 3.0, 1.0])
    task = read_task(make_task(cases=3, shape=(12, 14, 16), affine=affine))
    fingerprint = fingerprint_of(task)
    assert fingerprint.cases == 3
    assert fingerprint.median_size == (16, 14, 12)
    assert fingerprint.median_spacing == (3.0, 1.0, 0.5)
    assert fingerprint.nonzero_share == (1.0,)
    assert abs(sum(fingerprint.label_share) - 1) < 1e-6
    (blob,) = fingerprint.components
    assert blob.median_count == 1 and 0.8 < blob.median_mm3 / (4 / 3 * np.pi * 5**3 * 1.5) < 1.1
    (intensities,) = fingerprint.intensities
    assert abs(intensities.mean - 150) < 3 and abs(intensities.std - 20) < 3


def test_small_scans_are_taken_whole(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    plan, reasons = make_plan(altered(fingerprint_of(task), median_size=(35, 50, 35)), task, AUTO)
    assert plan.patch == (40, 56, 40)
    assert plan.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert plan.widths == (16, 32, 64, 128)
    assert set(reasons) == set(plan.to_dict())
    assert reasons["patch"].startswith("holds a typical scan of 35x50x35 voxels as a whole")
    assert reasons["patch"].endswith("the network sees 40x56x40 mm at once")


def test_coarse_slices_are_neither_pooled_nor_convolved_until_the_plane_has_caught_up(
    make_task: MakeTask,
) -> None:
    task = read_task(make_task(cases=2))
    thick = altered(
        fingerprint_of(task),
        median_size=(24, 320, 320),
        median_spacing=(5.0, 0.7, 0.7),
        fine_spacing=(4.5, 0.6, 0.6),
    )
    plan, reasons = make_plan(thick, task, AUTO)
    assert plan.spacing == (4.5, 0.7, 0.7) and "10th percentile" in reasons["spacing"]
    assert plan.kernels[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))
    assert plan.strides[1:3] == ((1, 2, 2), (1, 2, 2))
    assert np.prod(plan.patch) <= 1.3 * AUTO.max_patch_voxels


def test_normalisation_follows_the_modality(make_task: MakeTask) -> None:
    ct = read_task(make_task(cases=2, modality="CT"))
    plan, reasons = make_plan(fingerprint_of(ct), ct, AUTO)
    assert plan.normalisation[0].scheme == "ct" and plan.normalisation[0].high > 150
    assert "clipped to 101..201 " in reasons["normalisation"]
    assert reasons["normalisation"].endswith(", less 149, over 20")
    mr = replace(ct, modalities=("FLAIR",))
    sparse = altered(fingerprint_of(mr), nonzero_share=(0.4,))
    plan, reasons = make_plan(sparse, mr, AUTO)
    assert plan.normalisation[0].scheme == "zscore_nonzero"
    assert reasons["normalisation"].startswith("FLAIR: 60 % of a typical scan are exactly 0")
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
    assert plan.widths == (8, 16, 16) and reasons["patch"] == "set by plan.patch"


def test_impossible_settings_are_named(make_task: MakeTask) -> None:
    task = read_task(make_task(cases=2))
    for changes, message in (
        ({"patch": (16, 16)}, "plan.patch"),
        ({"batch": 0}, "plan.batch"),
        ({"spacing": (0, 1, 1)}, "plan.spacing"),
    ):
        with pytest.raises(InputError, match=message):
            replace(AUTO, **changes)
    with pytest.raises(InputError, match="got 2 schemes, wanted 1"):
        make_plan(fingerprint_of(task), task, replace(AUTO, normalisation=("ct", "ct")))


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="real data sets are not here")
def test_sarcoma_needs_no_special_case() -> None:
    folder: Path = REAL_DATA / "Task50_SoftTissueSarcoma"
    task = read_task(folder)
    some = replace(task, cases=task.cases[:4])
    plan, _ = make_plan(fingerprint_of(some), some, AUTO)
    assert [channel.scheme for channel in plan.normalisation] == ["ct", "zscore"]
    assert plan.spacing[0] > plan.spacing[1]
