"""Rows of voxels by label are those that one search per label finds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from app.data.prepare import foreground
from app.data.prepare.foreground import foreground_index


def label_by_label(labels: NDArray[np.uint8], ignore: int | None, most: int) -> NDArray[np.int32]:
    rng = np.random.default_rng(0)
    rows = [np.empty((0, 4), dtype=np.int32)]
    for label in sorted(set(np.unique(labels).tolist()) - {0, ignore}):
        places = np.flatnonzero(labels == label)
        if len(places) > most:
            places = places[np.sort(rng.choice(len(places), most, replace=False))]
        voxels = np.stack(np.unravel_index(places, labels.shape), axis=1).astype(np.int32)
        rows.append(np.insert(voxels, 0, label, axis=1))
    return np.concatenate(rows)


@pytest.mark.parametrize("ignore", [None, 5])
def test_rows_are_those_of_one_search_per_label(ignore: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "_AT_ONCE", 97)
    monkeypatch.setattr(foreground, "INDEXED", 30)
    labels = np.random.default_rng(1).integers(0, 6, (9, 8, 11)).astype(np.uint8)
    labels[0, 0, 0], labels[labels == 3] = 9, 0
    found = foreground_index(labels, ignore)
    np.testing.assert_array_equal(found, label_by_label(labels, ignore, 30))
    assert set(found[:, 0].tolist()) == {1, 2, 4, 5, 9} - {ignore}


def test_a_map_of_background_has_no_rows() -> None:
    assert foreground_index(np.zeros((2, 3, 4), dtype=np.uint8), None).shape == (0, 4)
