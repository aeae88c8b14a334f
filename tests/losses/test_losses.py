"""Our losses equal MONAI's, in value and gradient, and know what a voxel of several possible labels says."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss, FocalLoss, TverskyLoss
from torch import Tensor

from app.core.errors import InputError
from app.losses.losses import SumLoss, dice_ce, dice_focal, focal, tversky_ce
from app.losses.targets import Targets

WEIGHTS = [0.5, 1.0, 2.0, 3.0]
NAMED = {str(value): weight for value, weight in enumerate(WEIGHTS)}
softmax = {"to_onehot_y": True, "softmax": True, "batch": True, "include_background": False}
PAIRS = {
    "dice_ce": (dice_ce(), DiceCELoss(**softmax)),
    "per patch, with background, by weight": (
        dice_ce(batch=False, include_background=True, class_weights=NAMED, lambda_ce=0.5),
        DiceCELoss(to_onehot_y=True, softmax=True, weight=torch.tensor(WEIGHTS), lambda_ce=0.5),
    ),
    "dice_focal": (dice_focal(), DiceFocalLoss(**softmax)),
    "dice_focal by weight": (
        dice_focal(class_weights=NAMED, gamma=1.5),
        DiceFocalLoss(**softmax, weight=torch.tensor(WEIGHTS[1:]), gamma=1.5),
    ),
    "tversky": (tversky_ce(lambda_ce=0.0), TverskyLoss(**softmax, alpha=0.3, beta=0.7)),
    "focal": (focal(class_weights=NAMED), FocalLoss(to_onehot_y=True, use_softmax=True, weight=WEIGHTS)),
}


def drawn(outputs: int, values: int, *, channels_last: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, outputs, 5, 6, 7, generator=generator)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last_3d)
    return logits.requires_grad_(), torch.randint(values, (2, 1, 5, 6, 7), generator=generator).float()


def of(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(logits, labels)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@pytest.mark.parametrize(("channels_last", "added"), [(False, torch.float32), (True, torch.float64)])
@pytest.mark.parametrize("name", PAIRS)
def test_losses_of_labels_equal_those_of_monai(
    name: str, channels_last: bool, added: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.losses.class_sums._PIECE", {"cpu": 300})  # several pieces a sample
    monkeypatch.setattr("app.losses.class_sums._added_in", lambda device: added)
    logits, labels = drawn(4, 4, channels_last=channels_last)
    for ours, theirs in zip(*(of(loss, logits, labels) for loss in PAIRS[name]), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=2e-6)


def test_a_large_piece_loses_no_small_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU adds: two million voxels in one piece, nearly all of them easy."""
    monkeypatch.setattr("app.losses.class_sums._PIECE", {})
    monkeypatch.setattr("app.losses.class_sums._added_in", lambda device: torch.float64)
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(1, 1, 128, 128, 128, generator=generator) < 0.01).float()
    logits = torch.randn(1, 2, 128, 128, 128, generator=generator)
    logits[:, 0] += 10 * (1 - labels[:, 0])
    wanted = DiceCELoss(**softmax)(logits.double(), labels)
    torch.testing.assert_close(dice_ce()(logits, labels).double(), wanted, atol=0.0, rtol=1e-6)


REGIONS = {"whole": (1, 2, 3), "core": (2, 3), "active": (3,)}


def masks(labels: Tensor) -> Tensor:
    return torch.cat([torch.isin(labels, torch.tensor(values).float()) for values in REGIONS.values()], 1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (dice_focal(gamma=0.0, include_background=True), DiceFocalLoss(sigmoid=True, gamma=0.0, batch=True)),
        (
            dice_focal(include_background=True, class_weights={"core": 3.0}),
            DiceFocalLoss(sigmoid=True, weight=[1.0, 3.0, 1.0], batch=True),
        ),
        (
            tversky_ce(lambda_ce=0.0, include_background=True),
            TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, batch=True),
        ),
    ],
)
def test_losses_of_regions_equal_those_of_monai(ours: SumLoss, theirs: torch.nn.Module) -> None:
    aimed = ours.aimed_at(Targets.made(["none", "edema", "necrosis", "active"], regions=REGIONS))
    logits, labels = drawn(3, 4)
    found = of(aimed, logits, labels)
    wanted = of(lambda logits, labels: theirs(logits, masks(labels).float()), logits, labels)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=2e-6)


@pytest.mark.parametrize("loss", [dice_ce(), dice_focal(), tversky_ce(), focal()])
@pytest.mark.parametrize("regions", [None, REGIONS])
def test_ignored_voxels_change_nothing_and_learn_nothing(
    loss: SumLoss, regions: dict[str, tuple[int, ...]] | None
) -> None:
    aimed = loss.aimed_at(Targets.made(["a", "b", "c", "d"], regions=regions, ignore=4))
    logits, labels = drawn(3 if regions else 4, 5)
    value, gradient = of(aimed, logits, labels)
    ignored = (labels == 4).expand_as(logits)
    assert (gradient[ignored] == 0).all() and (gradient[~ignored] != 0).all()
    assert aimed(torch.where(ignored, 9.0, logits.detach()), labels) == value


def test_a_voxel_of_several_labels_counts_by_the_sum_of_their_probabilities() -> None:
    # labels 0, 1, 2; the value 3 says: 0 or 2. Two voxels: one surely 1, one of value 3.
    targets = Targets.made(["none", "liver", "spleen"], unknown=[(0, 2)])
    logits = torch.tensor([[0.2, 0.5, 0.3], [0.5, 0.1, 0.4]]).log().T.reshape(1, 3, 1, 1, 2)
    labels = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 1, 2)
    entropy = -(torch.tensor(0.5).log() + torch.tensor(0.9).log()) / 2
    found = dice_ce(lambda_dice=0.0).aimed_at(targets)(logits, labels)
    torch.testing.assert_close(found, entropy)
    # liver: .5 right of .5 + .1 predicted and 1 there; spleen: .3 wrong where liver is, .4 is no fault
    dice = (1 - 2 * 0.5 / (0.6 + 1) + 1 - 0.0) / 2
    assert float(dice_ce(lambda_ce=0.0).aimed_at(targets)(logits, labels)) == pytest.approx(dice, abs=2e-5)


def test_nothing_of_a_case_that_annotates_liver_alone_teaches_the_spleen_not_to_be() -> None:
    targets = Targets.made(["none", "liver", "spleen"], unknown=[(0, 2)])
    logits = torch.zeros(1, 3, 2, 2, 2, requires_grad=True)
    _, gradient = of(dice_ce().aimed_at(targets), logits, torch.full((1, 1, 2, 2, 2), 3.0))
    torch.testing.assert_close(gradient[:, 0], gradient[:, 2])  # as likely as background
    assert (gradient[:, 1] > 0).all() and (gradient[:, 2] < 0).all()


@pytest.mark.parametrize("make", [dice_ce, dice_focal, tversky_ce, partial(focal, gamma=0.5)])
def test_gradients_are_finite_where_the_answer_is_sure(make: Callable[[], SumLoss]) -> None:
    labels = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 1, 2)
    right = 200.0 * torch.eye(2).reshape(1, 2, 1, 1, 2)
    for logits in (right, -right):
        value, gradient = of(make(), logits.clone().requires_grad_(), labels)
        assert torch.isfinite(value) and torch.isfinite(gradient).all()


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(InputError, match="gall"):
        dice_ce(class_weights={"gall": 2.0}).aimed_at(Targets.made(["none", "liver"]))
    with pytest.raises(InputError, match=r"-1"):
        dice_ce(lambda_ce=-1)
    with pytest.raises(InputError, match=r"0\.0"):
        dice_ce(lambda_dice=0.0, lambda_ce=0.0)


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    logits, labels = drawn(3, 3)
    (gradient,) = torch.autograd.grad(dice_ce()(logits, labels), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def rare_label(certainty: float, held: float) -> tuple[Tensor, Tensor]:
    """Logits of background and two labels; the second label is `held` in 1 of 1000 voxels."""
    logits = torch.zeros(1, 3, 10, 10, 10)
    logits[:, 2] = certainty
    labels = torch.zeros(1, 1, 10, 10, 10)
    labels[..., 5:, :, :] = 1.0
    labels[..., 0, 0, 0] = held
    return logits.requires_grad_(), labels


def test_the_logarithm_pulls_at_a_label_that_is_not_found_yet() -> None:
    pulls = []
    for certainty in (-5.0, -10.0):
        logits, labels = rare_label(certainty, held=2.0)
        for log in (False, True):
            pulls.append(-float(of(dice_ce(lambda_ce=0.0, log=log), logits, labels)[1][0, 2, 0, 0, 0]))
    plain, pulled, later_plain, later_pulled = pulls
    assert pulled > 20 * plain > 0
    assert later_plain < 0.05 * plain
    assert later_pulled > 0.5 * pulled


def test_the_logarithm_is_that_of_dice() -> None:
    logits, labels = drawn(2, 2)
    plain, logarithm = (dice_ce(lambda_ce=0.0, log=log)(logits, labels).item() for log in (False, True))
    assert logarithm == pytest.approx(-math.log(1 - plain), rel=1e-5)


def test_a_label_that_the_batch_does_not_hold_has_no_logarithm() -> None:
    logits, labels = rare_label(-5.0, held=0.0)
    with_log, without = (of(dice_ce(log=log), logits, labels)[1][:, 2] for log in (True, False))
    torch.testing.assert_close(with_log, without)


@pytest.mark.parametrize(("labels", "weight"), [(2, 1.0), (11, 1.0), (33, 3.2)])
def test_the_weight_of_the_overlap_is_planned_by_the_number_of_labels(labels: int, weight: float) -> None:
    logits, values = drawn(labels, labels)
    planned, once, entropy = (dice_ce(lambda_dice=given)(logits, values).item() for given in (None, 1.0, 0.0))
    assert planned - entropy == pytest.approx(weight * (once - entropy), rel=1e-4)
