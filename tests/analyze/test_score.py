"""The 3DRF score by hand: voxels capped at the patch, and channels."""

import math

import numpy as np
import pytest

from app.analyze.field import ReceptiveFields
from app.analyze.score import capped, field_score

REACH = np.array([[True, True, True, False], [True, False, False, False]])
LOW = np.array([[-1.0, -1.0, -10.0], [0.0, 0.0, 0.0]])
FIELD = ReceptiveFields(REACH, LOW, -LOW, np.ones(3))


def test_a_channel_sees_no_more_than_the_patch() -> None:
    assert capped(FIELD, (8, 8, 8)).tolist() == [[3, 3, 8], [1, 1, 1]]


def test_the_score_is_the_mean_logarithm_of_voxels_times_channels() -> None:
    assert field_score(FIELD, (8, 8, 8)) == pytest.approx((math.log(3 * 3 * 8 * 3) + math.log(1)) / 2)
