from dataclasses import replace
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.plan import Normalisation, Plan, read_plan, write_plan

PLAN = Plan(
    spacing=(3.0, 1.0, 1.0),
    patch=(8, 16, 16),
    batch=2,
    widths=(8, 16),
    strides=((1, 1, 1), (1, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3)),
    normalisation=(Normalisation("ct", -100.0, 200.0, 50.0, 30.0), Normalisation("zscore")),
)


def test_round_trip_through_yaml(tmp_path: Path) -> None:
    reasons = {name: f"because of {name}" for name in PLAN.to_dict()}
    write_plan(tmp_path / "plan.yaml", PLAN, reasons)
    assert read_plan(tmp_path / "plan.yaml") == (PLAN, reasons)


def test_total_stride_multiplies_levels() -> None:
    assert PLAN.total_stride == (1, 2, 2)


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of the total stride 2"):
        replace(PLAN, patch=(8, 15, 16))
    with pytest.raises(InputError, match="one entry a level"):
        replace(PLAN, widths=(8,))
    with pytest.raises(InputError, match="'percent'"):
        Normalisation("percent")


def test_bad_plan_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("patch: 3")
    with pytest.raises(InputError, match=r"plan\.yaml: not a plan"):
        read_plan(tmp_path / "plan.yaml")
    with pytest.raises(InputError, match="no such plan"):
        read_plan(tmp_path / "none.yaml")
