from dataclasses import replace

import pytest
import torch
from torch import Tensor

from app.core.types import Size
from app.infer.engines.interleaved import InterleavedEngine, interleaved_engine, interleaved_plan, stacks_of
from tests.support.config import CUBES

THICK = replace(CUBES, spacing=(3.0, 1.0, 1.0))


def steps(windows: Tensor) -> Tensor:
    """Return how much each slice is above the one before, as logits of one class."""
    return windows - windows.roll(1, dims=2)


def test_each_stack_is_seen_by_itself_and_put_back_in_its_place() -> None:
    windows = torch.arange(6.0)[None, None, :, None, None].expand(2, 1, 6, 2, 3)
    engine = InterleavedEngine(steps, 2, axis=0)
    assert (stacks_of(engine), stacks_of(steps)) == (2, 1)
    seen = engine(windows)
    assert seen.shape == (2, 1, 6, 2, 3)
    assert seen[1, 0, :, 1, 2].tolist() == [-4, -4, 2, 2, 2, 2]  # 0 2 4 and 1 3 5, each rolled round


@pytest.mark.parametrize("axis", [1, 2])
def test_stacks_may_lie_along_any_axis(axis: int) -> None:
    windows = torch.rand(1, 2, 4, 6, 8)
    turned = windows.movedim(axis + 2, 2)
    seen = InterleavedEngine(lambda part: part.cumsum(axis + 2), 2, axis)(windows)
    wanted = InterleavedEngine(lambda part: part.cumsum(2), 2, axis=0)(turned)
    torch.testing.assert_close(seen, wanted.movedim(2, axis + 2))


def test_a_plan_for_stacks_has_more_slices_of_the_same_extent() -> None:
    plan = interleaved_plan(THICK, (1.5, 0.8, 0.8))
    depth, *plane = THICK.patch
    assert plan.spacing == (1.5, 1.0, 1.0)
    assert plan.patch == (2 * depth, *plane)
    total: Size = plan.total_stride
    assert total == (2 * THICK.total_stride[0], *THICK.total_stride[1:])


def test_other_scans_are_seen_as_before() -> None:
    for plan, own in ((THICK, (3.0, 1.0, 1.0)), (CUBES, (0.2, 1.0, 1.0))):
        assert interleaved_plan(plan, own) is plan
        assert interleaved_engine(steps, plan, own) is steps
