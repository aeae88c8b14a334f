from dataclasses import replace
from pathlib import Path

import pytest
import yaml

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
    foreground_share=0.33,
    steps=2000,
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
    with pytest.raises(InputError, match=r"plan.steps: got 0, wanted at least 1"):
        replace(PLAN, steps=0)
    with pytest.raises(InputError, match=r"plan.foreground_share: got 1.5, wanted from 0 to 1"):
        replace(PLAN, foreground_share=1.5)


def test_plans_of_before_they_said_how_long_to_train_are_read(tmp_path: Path) -> None:
    older = {
        name: value for name, value in PLAN.to_dict().items() if name not in ("foreground_share", "steps")
    }
    entries = {name: {"value": value, "reason": "it fits"} for name, value in older.items()}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")
    plan, reasons = read_plan(tmp_path / "plan.yaml")
    assert plan == replace(PLAN, foreground_share=0.5, steps=2000) == Plan.from_dict(older)
    assert reasons["patch"] == "it fits" and set(reasons) == set(PLAN.to_dict())
    with pytest.raises(InputError, match="plan: got keys"):
        Plan.from_dict({**PLAN.to_dict(), "learning": 1})


def test_only_the_length_and_aim_of_training_may_differ_between_plans_that_prepare_alike() -> None:
    assert PLAN.prepares_like(replace(PLAN, steps=1, foreground_share=1.0))
    assert not PLAN.prepares_like(replace(PLAN, batch=3))


def test_bad_plan_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("patch: 3")
    with pytest.raises(InputError, match=r"plan\.yaml: not a plan"):
        read_plan(tmp_path / "plan.yaml")
    write_plan(tmp_path / "plan.yaml", PLAN, dict.fromkeys(PLAN.to_dict(), "because"))
    whole = yaml.safe_load((tmp_path / "plan.yaml").read_text(encoding="utf-8"))
    for name, value in (("patch", [32, 32]), ("normalisation", [{"scheme": "zscore", "sigma": 1}])):
        edited = {**whole, name: {"value": value, "reason": "edited"}}
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump(edited), encoding="utf-8")
        with pytest.raises(InputError, match=r"plan\.yaml: not a plan"):
            read_plan(tmp_path / "plan.yaml")
    with pytest.raises(InputError, match="no such plan"):
        read_plan(tmp_path / "none.yaml")
