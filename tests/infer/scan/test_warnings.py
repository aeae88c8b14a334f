"""Warnings about one scan: each kind once."""

import re
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
def test_spacing_is_one_warning_whatever_the_axes(mm: tuple[float, float, float], told: list[str]) -> None:
    plan = replace(CUBES, spacing=(1.0, 1.0, 1.0), normalisation=(Normalisation("zscore"),))
    voxels = np.random.default_rng(0).normal(size=(1, 6, 6, 6)).astype(np.float32)
    volume = Volume(np.diag([*mm[::-1], 1.0]), voxels)
    found = scan_warnings(volume, prepare(volume, None, plan), plan, ("MR",))
    assert [warning.kind for warning in found] == ["spacing"] * len(told)
    assert all(words in warning.text for words, warning in zip(told, found, strict=True))


@pytest.mark.parametrize(
    ("thickness", "told"), [(10, []), (2.6, []), (1, []), (0.5, ["0.5 mm along D", "trained at 10 mm"])]
)
def test_thin_slices_that_are_seen_in_stacks_are_not_warned_of(thickness: float, told: list[str]) -> None:
    """Slices of 2.6 and of 1 mm are four stacks on a grid of 10 mm; those of 0.5 mm are too thin even so."""
    plan = replace(CUBES, spacing=(10.0, 1.0, 1.0), normalisation=(Normalisation("zscore"),))
    voxels = np.random.default_rng(0).normal(size=(1, 6, 6, 40)).astype(np.float32)
    volume = Volume(np.diag([1.0, 1.0, thickness, 1.0]), voxels)
    found = scan_warnings(volume, prepare(volume, None, plan), plan, ("MR",))
    assert [warning.kind for warning in found] == ["spacing"] * bool(told)
    assert all(words in warning.text for words in told for warning in found)


@pytest.mark.parametrize(
    ("shift", "brightest", "told"),
    [
        (0, ((60.0, 90.0),), []),  # a small bright label: nearly all of a training scan is darker, too
        (0, ((200.0, 300.0),), ["intensity_CT"]),
        (0, (), ["intensity_CT"]),  # older plans
        (2000, ((60.0, 90.0),), ["intensity_CT"]),
    ],
)
def test_ct_is_compared_with_labels_and_with_whole_scans(
    shift: float, brightest: tuple[tuple[float, float], ...], told: list[str]
) -> None:
    how = Normalisation("ct", 100.0, 250.0, 150.0, 30.0)
    plan = replace(CUBES, spacing=(1.0, 1.0, 1.0), normalisation=(how,), brightest=brightest)
    values = np.random.default_rng(0).uniform(-1000, 75, (1, 24, 24, 24)) + shift
    voxels = values.astype(np.float32)
    volume = Volume(np.eye(4), voxels)
    found = scan_warnings(volume, prepare(volume, None, plan), plan, ("CT",))
    assert [warning.kind for warning in found] == told


@pytest.mark.parametrize(
    ("how", "brightest", "factor", "offset", "numbers"),
    [
        (Normalisation("ct", -100, 200, 50, 80), ((190, 210),), 1000, 0, ()),
        (Normalisation("ct", -100, 200, 50, 80), ((190, 210),), 1, 0, ("-100", "200")),
        (Normalisation("zscore"), ((200, 500),), 500, 500, ()),
        (Normalisation("zscore"), ((200, 500),), 10_000, 10_000, ("200", "500")),
        (Normalisation("zscore_nonzero"), ((200, 500),), 1, 1, ("200", "500")),
        (Normalisation("zscore"), ((200, 500),), 0, 7, ("7",)),
        (Normalisation("zscore"), (), 10_000, 0, ()),  # an earlier plan says nothing of it
    ],
)
def test_intensities_far_from_the_training_set_are_noted(
    how: Normalisation,
    brightest: tuple[tuple[float, float], ...],
    factor: float,
    offset: float,
    numbers: tuple[str, ...],
) -> None:
    """The note gives the range of the training set, or the value of a scan that is constant."""
    plan = replace(CUBES, normalisation=(how,), brightest=brightest)
    spread = np.random.default_rng(0).uniform(-1, 1, (1, 20, 20, 20))
    volume = Volume(np.eye(4), (spread * factor + offset).astype(np.float32))
    found = scan_warnings(volume, prepare(volume, None, plan), plan, ["image"])
    assert len(found) == bool(numbers)
    for line in map(str, found):
        assert "image" in line and set(numbers) <= set(re.findall(r"-?\d[\d.]*", line))
