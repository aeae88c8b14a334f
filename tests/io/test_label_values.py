import numpy as np
import pytest

from app.io import label_values
from app.io.label_values import count_integers, count_values


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_values_are_counted_in_any_type(dtype: type) -> None:
    voxels = np.array([[[0, 3], [3, 0]], [[0, 255], [3, 0]]], dtype=dtype)
    assert count_values(voxels) == {0.0: 4, 3.0: 3, 255.0: 1}


def test_values_that_are_no_label() -> None:
    counts = count_values(np.array([0.0, 0.5, -1.0, 300.0, 0.5]))
    assert counts == {-1.0: 1, 0.0: 1, 0.5: 2, 300.0: 1}
    assert count_values(np.array([0.0, np.nan])).get(0.0) == 1


def test_counting_piece_by_piece_is_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.random.default_rng(0).integers(0, 9, size=(7, 5, 6), dtype=np.int32)
    wanted = np.bincount(voxels.ravel(), minlength=12).tolist()
    monkeypatch.setattr(label_values, "_AT_ONCE", 32)
    assert count_integers(voxels, 12).tolist() == wanted
    assert count_integers(np.asfortranarray(voxels), 12).tolist() == wanted
