import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.errors import InputError
from app.core.plan import Normalisation, Plan, read_plan, write_plan
from tests.support.config import PLAN


def test_round_trip_through_yaml(tmp_path: Path) -> None:
    reasons = {name: f"because of {name}" for name in PLAN.to_dict()}
    write_plan(tmp_path / "plan.yaml", PLAN, reasons)
    assert read_plan(tmp_path / "plan.yaml") == (PLAN, reasons)


def test_total_stride_multiplies_levels() -> None:
    assert PLAN.total_stride == (1, 2, 2)


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"patch": (8, 15, 16)}, [r"plan\.patch", r"\b15\b", r"\b2\b"]),  # 2 is the total stride
        ({"widths": (8,)}, ["plan", "widths", "strides", "kernels", r"\b1\b", r"\b2\b"]),
        ({"steps": 0}, [r"plan\.steps", r"\b0\b", r"\b1\b"]),
        ({"foreground_share": 1.5}, [r"plan\.foreground_share", r"\b1\.5\b"]),
    ],
)
def test_impossible_plans_are_refused(changes: dict[str, Any], tokens: list[str]) -> None:
    with pytest.raises(InputError) as error:
        replace(PLAN, **changes)
    for token in tokens:
        assert re.search(token, str(error.value))


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(InputError, match="normalisation") as error:
        Normalisation("percent")
    for token in ("'percent'", "zscore_nonzero"):
        assert token in str(error.value)


def test_plans_of_before_they_said_how_long_to_train_are_read(tmp_path: Path) -> None:
    older = {
        name: value for name, value in PLAN.to_dict().items() if name not in ("foreground_share", "steps")
    }
    entries = {name: {"value": value, "reason": "it fits"} for name, value in older.items()}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")
    plan, reasons = read_plan(tmp_path / "plan.yaml")
    assert plan == replace(PLAN, foreground_share=0.5, steps=2000) == Plan.from_dict(older)
    assert reasons["patch"] == "it fits" and set(reasons) == set(PLAN.to_dict())
    with pytest.raises(InputError, match="'learning'"):
        Plan.from_dict({**PLAN.to_dict(), "learning": 1})


def test_a_first_stage_and_mirror_images_are_kept(tmp_path: Path) -> None:
    first = replace(PLAN, spacing=(9.0, 4.0, 4.0), steps=200)
    plan = replace(PLAN, locate=first, mirror=(0, 2, 1), oriented=False, minutes=30.0)
    write_plan(tmp_path / "plan.yaml", plan, dict.fromkeys(plan.to_dict(), "because"))
    assert read_plan(tmp_path / "plan.yaml")[0] == plan
    assert plan.swapped == (0, 2, 1) and replace(plan, mirror=(0, 1, 2)).swapped == ()


def test_bad_plan_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("patch: 3")
    with pytest.raises(InputError, match=r"plan\.yaml"):
        read_plan(tmp_path / "plan.yaml")
    write_plan(tmp_path / "plan.yaml", PLAN, dict.fromkeys(PLAN.to_dict(), "because"))
    whole = yaml.safe_load((tmp_path / "plan.yaml").read_text(encoding="utf-8"))
    for name, value in (("patch", [32, 32]), ("normalisation", [{"scheme": "zscore", "sigma": 1}])):
        edited = {**whole, name: {"value": value, "reason": "edited"}}
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump(edited), encoding="utf-8")
        with pytest.raises(InputError, match=r"plan\.yaml"):
            read_plan(tmp_path / "plan.yaml")
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_plan(tmp_path / "none.yaml")
