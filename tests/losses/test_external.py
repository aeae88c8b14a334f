"""Losses of MONAI and torch with weights of classes."""

import copy
from typing import Any

import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss
from torch import nn

from app.core.errors import InputError
from app.losses.external import ExternalLoss, with_weights

NAMES = ("background", "organ", "tumour")
SOFT = {"to_onehot_y": True, "softmax": True, "include_background": False}
LOGITS = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(128).reshape(2, 1, 4, 4, 4).float() % 3


@pytest.mark.parametrize(
    ("make", "values", "weight"),
    [
        (DiceCELoss, SOFT, [1.0, 1.0, 5.0]),
        (DiceFocalLoss, SOFT, [1.0, 5.0]),  # MONAI wants none for a background that is left out
        (nn.CrossEntropyLoss, {}, [1.0, 1.0, 5.0]),
    ],
)
def test_weights_reach_the_loss(make: Any, values: dict[str, Any], weight: list[float]) -> None:
    for given in ({"class_weights": {"tumour": 5}}, {"weight": [1, 1, 5]}):
        found = with_weights(make, {**values, **given}, NAMES, "loss")
        assert found["weight"].tolist() == weight and "class_weights" not in found
    labels = LABELS[:, 0].long() if make is nn.CrossEntropyLoss else LABELS
    expected = make(**values, weight=torch.tensor(weight))(LOGITS, labels)
    torch.testing.assert_close(ExternalLoss(make(**found))(LOGITS, LABELS), expected)
    assert (
        ExternalLoss(make(**found))(LOGITS.to("meta"), LABELS.to("meta")).device.type == "meta"
    )  # as plans do
    assert not torch.isclose(expected, ExternalLoss(make(**values))(LOGITS, LABELS))


def test_wrong_weights_are_named() -> None:
    for values, token in (
        ({"class_weights": {"tumor": 5.0}}, "tumour"),
        ({"weight": [1.0, 5.0]}, "got 2 numbers"),
        ({"weight": [1.0, 5.0, 1.0], "class_weights": {"organ": 2.0}}, "one of them"),
    ):
        with pytest.raises(InputError, match=token):
            with_weights(nn.CrossEntropyLoss, values, NAMES, "loss")
    with pytest.raises(InputError, match="takes no weights"):
        with_weights(nn.MSELoss, {"class_weights": {"organ": 2.0}}, NAMES, "loss")


def test_a_loss_is_copied_to_a_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, copies = copy.deepcopy, list[object]()

    def counted(value: object) -> object:
        copies.append(value)
        return usual(value)

    monkeypatch.setattr(copy, "deepcopy", counted)
    loss = ExternalLoss(nn.CrossEntropyLoss())
    for _ in range(3):
        loss(LOGITS.to("meta"), LABELS.to("meta"))
    assert len(copies) == 1
