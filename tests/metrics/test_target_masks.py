import numpy as np

from app.metrics.target_masks import target_masks

PREDICTED = np.array([0, 1, 2, 3, 3, 1])
REFERENCE = np.array([0, 1, 3, 3, 2, 4], dtype=np.uint8)


def test_regions_overlap() -> None:
    masks = target_masks(PREDICTED, REFERENCE, {"whole": (1, 2, 3), "core": (2, 3), "3": (3,)}, None)
    assert [mask.tolist() for mask in masks["core"]] == [
        [False, False, True, True, True, False],
        [False, False, True, True, True, False],
    ]
    assert [int(mask.sum()) for mask in masks["whole"]] == [5, 4]
    assert [int(mask.sum()) for mask in masks["3"]] == [2, 2]


def test_ignored_voxels_are_in_no_mask() -> None:
    predicted, reference = target_masks(PREDICTED, REFERENCE, {"1": (1,)}, 4)["1"]
    assert predicted.tolist() == [False, True, False, False, False, False] == reference.tolist()
