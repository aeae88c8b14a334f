"""Labels between voxels are those of the largest interpolated mask."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.data.prepare import label_vote
from app.data.prepare.label_vote import sample_labels, settle_mixed, uniform_cells
from app.data.sample.augment import rotation


def test_cells_of_one_label_are_told_from_mixed_ones() -> None:
    labels = torch.tensor([[[7, 7, 7], [7, 7, 3]], [[7, 7, 7], [7, 7, 7]]], dtype=torch.uint8)
    assert uniform_cells(labels).tolist() == [[[7, -1]]]


def test_eight_voxels_vote_by_their_weight_and_ties_go_to_the_lower() -> None:
    labels = torch.tensor([5, 5, 9, 9, 2, 2, 9, 9], dtype=torch.uint8).reshape(2, 2, 2)

    def elected(depth: float, height: float, width: float) -> int:
        ends = tuple(torch.tensor([end]) for end in (depth, height, width))
        points = uniform_cells(labels)
        found = settle_mixed(points, labels, lambda chosen: (torch.zeros(1, dtype=torch.int64), ends))  # type: ignore[arg-type,return-value]
        return int(found)

    assert elected(0.0, 0.25, 0.5) == 5  # three quarters of 5
    assert elected(1.0, 0.25, 0.5) == 2
    assert elected(0.5, 0.75, 0.5) == 9
    assert elected(0.5, 0.5, 0.5) == 9  # half is 9, a quarter each 5 and 2
    assert elected(0.0, 0.5, 0.5) == 5  # half each of 5 and 9
    assert elected(0.5, 0.0, 0.5) == 2  # half each of 5 and 2


@pytest.mark.parametrize("count", [3, 12])
def test_a_turned_patch_has_the_labels_of_one_interpolation_per_label(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_vote, "_AT_ONCE", 1000)
    generator = torch.Generator().manual_seed(count)
    coarse = torch.randint(count, (1, 1, 6, 6, 6), generator=generator).float()
    labels = F.interpolate(coarse, size=(26, 30, 34), mode="nearest")[0, 0].to(torch.uint8)
    turned = 1.3 * torch.cat([rotation(torch.tensor([0.4, 0.3, -0.2]).numpy()), torch.zeros(3, 1)], 1)
    grid = F.affine_grid(turned[None], [1, 1, 22, 24, 26], align_corners=False)
    shares = interpolated(labels, count, grid)
    found = sample_labels(labels, grid[0])
    wanted = shares.argmax(0)
    lost = shares.amax(0) - shares.gather(0, found.long()[None])[0]
    assert (found != wanted).sum() <= 2 and lost.max() < 1e-5  # ties alone


def interpolated(labels: Tensor, count: int, grid: Tensor) -> Tensor:
    masks = F.one_hot(labels.long(), count)[..., 1:].movedim(-1, 0).float()
    foreground = F.grid_sample(masks[None], grid, align_corners=False)[0]
    return torch.cat([1 - foreground.sum(0, keepdim=True), foreground])
