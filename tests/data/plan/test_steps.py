from dataclasses import replace

import pytest

from app.data.plan.steps import plan_augment
from tests.support.config import PLAN


@pytest.mark.parametrize(
    ("scans", "parts", "steps", "strength"),
    [
        (100, 1.0, 2999, 0.5),
        (100, 1.0, 3000, 1.0),
        (10, 1.0, 400, 1.0),
        (10, 8.0, 400, 0.5),
        (1, 1.0, None, 1.0),
    ],
)
def test_few_passes_over_the_scans_are_augmented_half_as_often(
    scans: int, parts: float, steps: int | None, strength: float
) -> None:
    assert plan_augment(scans, parts, replace(PLAN, batch=2), steps)[0] == strength
