"""A first stage's region, on a network that calls bright voxels foreground."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.core.plan import Normalisation
from app.data.prepare.geometry import Region, plan_geometry
from app.infer.scan.region import box_in_scan, locate, touching
from app.io.volumes import Volume
from tests.support.config import CUBES

COARSE = replace(CUBES, spacing=(2.0, 2.0, 2.0), patch=(16, 16, 16))


class Bright(nn.Module):
    """Foreground where an image normalised to deviation 1 is above 1."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        foreground = 100 * (x[:, :1] - self.level)
        return torch.cat([torch.zeros_like(foreground), foreground], dim=1)


def scan(*cubes: tuple[int, int, int, int], size: int = 40) -> Volume:
    """Bright cubes, each by its first voxel and its length, in a dark scan of 1 mm that ends in a rim."""
    voxels = np.ones((size, size, size), dtype=np.float32)
    for i, j, k, length in cubes:
        voxels[i : i + length, j : j + length, k : k + length] = 100
    return Volume(np.eye(4), voxels[None])


@pytest.mark.parametrize("axis", range(3))
def test_what_is_found_lies_in_voxels_of_the_scan(axis: int) -> None:
    first = [10, 10, 10]
    first[axis] = 24
    parts, geometry = locate(Bright(), scan((first[0], first[1], first[2], 8)), COARSE)
    box = box_in_scan(parts, geometry, 0.05)
    assert box is not None and geometry.full == (40, 40, 40)
    wanted = list(reversed(first))  # (i, j, k) of a scan to the right, ahead, up is (W, H, D)
    for low, high, begin in zip(box.start, box.stop, wanted, strict=True):
        assert abs(low - begin) <= 2 and abs(high - (begin + 8)) <= 2


def test_small_parts_are_mistakes_and_nothing_is_nothing() -> None:
    def box(*cubes: tuple[int, int, int, int], share: float) -> Region | None:
        return box_in_scan(*locate(Bright(), scan(*cubes), COARSE), share)

    large, small = (8, 8, 8, 12), (34, 34, 34, 4)  # 6 and 2 voxels long on the coarse grid: 4 % of the size
    alone, beside, both = box(large, share=0.05), box(large, small, share=0.5), box(large, small, share=0.01)
    assert alone is not None and beside is not None and both is not None
    assert max(abs(a - b) for a, b in zip(alone.stop, beside.stop, strict=True)) <= 1
    assert min(both.stop) >= 36
    flat = replace(COARSE, normalisation=(Normalisation("ct", 0.0, 1.0, 0.0, 1.0),))
    assert locate(Bright(), scan(), flat)[0].box(0.05) is None


@pytest.mark.parametrize(
    ("labelled", "grown"),
    [
        ((slice(4, 6),) * 3, None),
        ((slice(2, 4), slice(4, 6), slice(4, 6)), Region((2, 2, 0), (10, 10, 10))),
        ((slice(4, 6), slice(4, 6), slice(8, 10)), Region((2, 2, 2), (12, 10, 10))),
        ((slice(4, 6), slice(18, 20), slice(4, 6)), None),  # the face of the scan itself
    ],
)
def test_a_region_grows_where_labels_reach_its_face_inside_the_scan(
    labelled: Any, grown: Region | None
) -> None:
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[labelled] = 1
    region = Region((2, 2, 2), (10, 20, 10) if labelled[1].start == 18 else (10, 10, 10))
    geometry = plan_geometry(np.ones((1, 20, 20, 20), dtype=np.float32), np.eye(4), None, region)
    assert touching(labels, geometry) == grown
