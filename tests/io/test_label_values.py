import numpy as np
import pytest

from app.io import label_values
from app.io.label_values import count_integers, count_values, listed_values, to_classes, to_values


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


GAPS = (0, 7, 257, 65535)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_values_with_gaps_are_counted_and_come_back(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """257 is one more than a byte holds: it once became 1."""
    monkeypatch.setattr(label_values, "_AT_ONCE", 5)  # a slice at a time
    voxels = np.array([[[0, 257], [7, 65535]], [[257, 257], [0, 0]]], dtype=dtype)
    assert count_values(voxels) == {0.0: 3, 7.0: 1, 257.0: 3, 65535.0: 1}
    classes = to_classes(voxels, GAPS)
    assert classes.dtype == np.uint8 and classes.tolist() == [[[0, 2], [1, 3]], [[2, 2], [0, 0]]]
    back = to_values(classes, GAPS)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, voxels)


def test_256_classes_are_bytes_and_more_are_not() -> None:
    voxels = np.array([[[0, 255]]], dtype=np.int16)
    few = to_classes(voxels, range(256))
    assert few.dtype == np.uint8 and to_values(few, range(256)) is few
    many = to_classes(voxels + 44, range(300))
    assert many.dtype == np.int16 and many.tolist() == [[[44, 299]]]
    assert to_values(many, range(300)).dtype == np.uint16


def test_values_are_listed_so_that_none_looks_whole_that_is_not() -> None:
    assert listed_values([0, 1, 2, 3]) == "0 to 3"
    assert listed_values([0, 1, 53, 54, 55, 65535]) == "0, 1, 53 to 55, 65535"
    assert listed_values([0.9999999, 2.0]) == "0.9999999, 2"
    assert listed_values(range(1, 14, 2)) == "1, 3, 5, 7, 9 and 2 more"
