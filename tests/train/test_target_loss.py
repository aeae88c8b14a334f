import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss

from app.train.target_loss import TargetLoss

PLAIN = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
REGIONS = DiceFocalLoss(sigmoid=True, gamma=0.0, include_background=True, batch=True)
BRAIN = ((1, 2, 3), (2, 3), (3,))


def labels() -> torch.Tensor:
    return torch.randint(0, 4, (2, 1, 4, 4, 4), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize(("loss", "regions", "classes"), [(PLAIN, (), 3), (REGIONS, BRAIN[:1], 1)])
def test_ignored_voxels_change_nothing_and_learn_nothing(
    loss: torch.nn.Module, regions: tuple[tuple[int, ...], ...], classes: int
) -> None:
    targets = TargetLoss(loss, regions=regions, ignore=3)
    logits = torch.randn(2, classes, 4, 4, 4, requires_grad=True)
    value = targets(logits, labels())
    value.backward()
    ignored = (labels() == 3).expand_as(logits)
    assert logits.grad is not None
    assert (logits.grad[ignored] == 0).all() and (logits.grad[~ignored] != 0).all()
    changed = torch.where(ignored, 9.0, logits.detach())
    assert targets(changed, labels()) == value


def test_regions_are_learnt_one_by_one() -> None:
    targets = TargetLoss(REGIONS, regions=BRAIN, ignore=None)
    masks = torch.cat([torch.isin(labels(), torch.tensor(region).float()) for region in BRAIN], dim=1)
    right = 20.0 * masks - 10
    assert targets(right, labels()) < 0.01 and targets(-right, labels()) > 1
    logits = torch.randn(2, 3, 4, 4, 4)
    dice = 1 - (2 * (logits.sigmoid() * masks).sum((0, 2, 3, 4)) + 1e-5) / (
        (logits.sigmoid() + masks).sum((0, 2, 3, 4)) + 1e-5
    )
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks.float())
    torch.testing.assert_close(targets(logits, labels()), dice.mean() + entropy)
