"""Doubts about one scan: each kind once."""

from dataclasses import replace

import numpy as np
import pytest

from app.core.plan import Normalisation
from app.data.prepare.prepare import prepare
from app.infer.scan.warnings import scan_warnings
from app.io.volumes import Volume
from tests.support.config import CUBES


@pytest.mark.parametrize(
    ("mm", "told"),
    [((1, 1, 1), []), ((8, 1, 1), ["8 mm along D"]), ((8, 0.1, 0.1), ["8 x 0.1 x 0.1 mm along D x H x W"])],
)
def test_spacing_is_one_doubt_whatever_the_axes(mm: tuple[float, float, float], told: list[str]) -> None:
    plan = replace(CUBES, spacing=(1.0, 1.0, 1.0), normalisation=(Normalisation("zscore"),))
    voxels = np.random.default_rng(0).normal(size=(1, 6, 6, 6)).astype(np.float32)
    volume = Volume(np.diag([*mm[::-1], 1.0]), voxels)
    found = scan_warnings(volume, prepare(volume, None, plan), plan, ("MR",))
    assert [doubt.kind for doubt in found] == ["spacing"] * len(told)
    assert all(words in doubt.text for words, doubt in zip(told, found, strict=True))
