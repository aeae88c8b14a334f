import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.plan import Normalisation
from app.data.prepare import intensity
from app.data.prepare.intensity import find_scaling


def scaled(image: NDArray[np.float32], channels: list[Normalisation]) -> NDArray[np.float32]:
    result = image.copy()
    for channel, how in zip(result, channels, strict=True):
        find_scaling(channel, how)(channel)
    return result


def test_ct_is_clipped_and_scaled_by_the_data_set() -> None:
    image = np.array([-1000.0, 0.0, 50.0, 3000.0], dtype=np.float32).reshape(1, 1, 1, 4)
    result = scaled(image, [Normalisation("ct", low=-50, high=150, mean=50, std=100)])
    np.testing.assert_allclose(result.ravel(), [-1.0, -0.5, 0.0, 1.0])


def test_zscore_holds_for_huge_intensities() -> None:
    image = np.random.default_rng(0).uniform(1e6, 1.7e6, (1, 30, 30, 30)).astype(np.float32)
    result = scaled(image, [Normalisation("zscore")])
    assert abs(result.mean()) < 1e-4 and abs(result.std() - 1) < 1e-4


def test_nonzero_zscore_leaves_the_background_at_zero() -> None:
    image = np.array([0.0, 0.0, 1.0, 3.0], dtype=np.float32).reshape(1, 1, 1, 4)
    result = scaled(image, [Normalisation("zscore_nonzero")])
    np.testing.assert_allclose(result.ravel(), [0, 0, -1, 1])


def test_constant_and_empty_channels_become_zero() -> None:
    image = np.stack([np.full((2, 2, 2), 7.0), np.zeros((2, 2, 2))]).astype(np.float32)
    result = scaled(image, [Normalisation("zscore"), Normalisation("zscore_nonzero")])
    assert not result.any()


def test_statistics_do_not_depend_on_the_pieces_they_are_summed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).uniform(-5, 900, (1, 31, 12, 9)).astype(np.float32)
    image[0, :7] = 0
    expected = (image - image[image != 0].astype(np.float64).mean()) / image[image != 0].astype(
        np.float64
    ).std()
    monkeypatch.setattr(intensity, "_PIECE_VOXELS", 500)
    result = scaled(image, [Normalisation("zscore_nonzero")])
    np.testing.assert_allclose(result, np.where(image != 0, expected, 0), rtol=1e-6, atol=1e-6)
