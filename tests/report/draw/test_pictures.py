"""The slices that are drawn."""

import numpy as np

from app.report.draw.pictures import fullest_slice, planes, spread_slices
from app.report.read.scans import Scan


def test_fullest_slices_and_those_around_them() -> None:
    reference = np.zeros((4, 5, 6), np.uint8)
    reference[3, :, 2] = 1
    nothing = np.zeros_like(reference)
    assert [fullest_slice(reference, nothing, axis) for axis in range(3)] == [3, 0, 2]
    assert fullest_slice(nothing, reference, 2) == 2
    assert fullest_slice(nothing, nothing, 2) == 3
    drawn = [spread_slices(reference, nothing, axis, reference) for axis in range(3)]
    assert drawn == [[3], [0, 1, 2, 3, 4], [2]]
    assert spread_slices(nothing, nothing, 2, nothing) == [3]
    long = np.zeros((1, 1, 26), np.uint8)
    long[..., 2:21] = 1
    assert spread_slices(long, 0 * long, 2, long) == [2, 5, 8, 11, 14, 17, 20]


def test_pictures_of_noisy_scans_stay_small() -> None:
    """Six cases of 21 slices, in base64, have to stay below 3 MB."""
    reference = np.zeros((96, 96, 4), np.uint8)
    reference[20:80, 20:80, 1] = 1
    noise = np.random.default_rng(0).normal(0, 0.1, reference.shape)
    scan = Scan((0.5 * reference + noise).astype(np.float32), reference, reference, (1.0, 1.0, 1.0))
    (axial,) = planes(scan, [(1,)], reference)[0].slices
    assert 6 * 21 * len(axial.image) < 3e6
