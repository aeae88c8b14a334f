from pathlib import Path

import numpy as np
import pytest

from app.data.plan.ceiling import kept, read_ceilings
from app.data.prepare.cache import Cache
from app.data.sets.decathlon import read_task
from tests.support.volumes import MakeTask


def test_a_grid_as_fine_as_the_scan_keeps_all_and_a_coarse_one_loses_what_is_thin() -> None:
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[4:16, 4:16, 4:16] = 1
    labels[10, 4:16, 18] = 2
    cube, line = (slice(4, 16),) * 3, (slice(10, 11), slice(4, 16), slice(18, 19))
    assert kept(labels, 1, cube, (1.0, 1.0, 1.0)) == kept(labels, 2, line, (1.0, 1.0, 1.0)) == 1.0
    assert kept(labels, 1, cube, (2.0, 2.0, 2.0)) > 0.9
    assert kept(labels, 2, line, (2.0, 2.0, 2.0)) == 0.0


def test_half_a_cube_by_hand() -> None:
    """One voxel of 2 in 4, and none of the other: the edge comes back in the middle of the coarse voxels."""
    labels = np.zeros((1, 1, 16), dtype=np.uint8)
    labels[..., 4:8] = 1
    assert kept(labels, 1, (slice(0, 1), slice(0, 1), slice(4, 8)), (1.0, 1.0, 4.0)) == pytest.approx(1.0)


def test_ceilings_are_means_over_cases_and_kept(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=3))
    grids = [(1.0, 1.0, 1.0), (3.0, 3.0, 3.0)]
    fine, coarse = read_ceilings(Cache(tmp_path, task, workers=1), grids)
    assert fine == (1.0,)
    assert coarse[0] is not None and 0.3 < coarse[0] < 0.95
    assert list((tmp_path / task.name).glob("ceilings-*.json"))


def test_slices_that_are_segmented_in_stacks_lose_nothing(make_task: MakeTask, tmp_path: Path) -> None:
    """Slices of 1 mm are two stacks on a grid of 2.1 mm; they are joined on one of 2 mm, not thick enough."""
    cache = Cache(tmp_path, read_task(make_task(cases=3)), workers=1)
    ((stacked,), (joined,)) = read_ceilings(cache, [(2.1, 1.0, 1.0), (2.0, 1.0, 1.0)])
    assert joined is not None and stacked is not None
    assert joined < 0.95 < stacked
