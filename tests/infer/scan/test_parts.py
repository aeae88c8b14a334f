import numpy as np

from app.data.prepare.geometry import Region
from app.infer.scan.parts import MaskComponents


def test_parts_have_sizes_and_boxes_and_share_faces() -> None:
    mask = np.zeros((6, 8, 8), dtype=bool)
    mask[0:2, 1:4, 2:5] = True  # 18 voxels
    mask[4, 6, 6] = mask[5, 7, 7] = True  # two parts of one voxel, as they touch at a corner
    parts = MaskComponents.of(mask)
    assert parts.sizes == (18, 1, 1)
    assert parts.boxes[0] == Region((0, 1, 2), (2, 4, 5))
    assert parts.box(1.0) == Region((0, 1, 2), (2, 4, 5))
    assert parts.box(0.05) == Region((0, 1, 2), (6, 8, 8))
    assert MaskComponents.of(np.zeros((2, 2, 2), dtype=bool)).box(1.0) is None
