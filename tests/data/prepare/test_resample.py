import numpy as np
import pytest
import torch
import torch.nn.functional as F

from app.data.prepare import resample
from app.data.prepare.resample import resample_labels


def test_a_label_map_by_hand() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2], dtype=np.uint8).reshape(6, 1, 1)
    assert resample_labels(labels, (3, 1, 1)).ravel().tolist() == [0, 1, 2]
    assert resample_labels(labels, (12, 1, 1)).ravel().tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert resample_labels(labels, (1, 1, 1)).ravel().tolist() == [1]


@pytest.mark.parametrize("size", [(11, 9, 7), (5, 3, 13), (8, 20, 6)])
def test_slabs_make_the_whole(size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 4, size=(8, 7, 6), dtype=np.uint8)
    shares = F.one_hot(torch.from_numpy(labels).long()).movedim(-1, 0)[None].float()
    whole = F.interpolate(shares, size=size, mode="trilinear", align_corners=False)[0]
    monkeypatch.setattr(resample, "_LABEL_SLAB", 200)
    found = torch.from_numpy(resample_labels(labels, size)).long()
    chosen = whole.gather(0, found[None])[0]
    assert ((whole.amax(0) - chosen) < 1e-6).all()  # the largest share, except for ties and rounding


def test_classes_beyond_a_byte_are_resampled_as_themselves() -> None:
    labels = np.full((4, 4, 4), 300, dtype=np.int16)
    labels[2:] = 1000
    doubled = resample_labels(labels, (8, 8, 8))
    assert doubled.dtype == np.int16 and set(np.unique(doubled)) == {300, 1000}
    np.testing.assert_array_equal(doubled[:4], 300)
