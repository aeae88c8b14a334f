from dataclasses import replace

import pytest

from app.data.plan.stages import in_region, prepared_share
from app.data.sets.decathlon import read_task
from tests.support.config import CUBES, altered, fingerprint_of
from tests.support.volumes import MakeTask


def test_what_is_prepared_is_the_region_or_a_patch_with_room_around_it(make_task: MakeTask) -> None:
    """The region of labels of 60 mm is 75 mm long; an eighth is added on either side."""
    facts = altered(
        fingerprint_of(read_task(make_task(cases=2))),
        median_size=(50, 200, 200),
        median_spacing=(2.0, 1.0, 1.0),
        foreground_mm=(60.0, 60.0, 60.0),
    )
    assert in_region(facts).median_size == (38, 75, 75)
    assert prepared_share(facts, CUBES) == pytest.approx(93.75**3 / (100 * 200 * 200))
    wide = replace(CUBES, patch=(96, 96, 96))
    assert prepared_share(facts, wide) == pytest.approx(100 * 120 * 120 / (100 * 200 * 200))
