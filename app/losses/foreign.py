"""Losses of MONAI and torch: weights of classes by name, and labels in the form that they want."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.core.errors import InputError

_WEIGHTS = ("class_weight", "weight", "pos_weight")


def with_weights(
    make: Callable[..., Any], values: Mapping[str, Any], names: Sequence[str], where: str
) -> dict[str, Any]:
    """Return a loss's arguments; `class_weights` by name, or a list of numbers as `weight`, become a tensor.

    `names` are those of its outputs, background first where there is one; those not named weigh 1.

    Raises:
        InputError: the loss takes no weights, or a name or the number of weights is wrong.
    """
    found = dict(values)
    by_name = found.pop("class_weights", None) or {}
    if unknown := sorted(set(by_name) - set(names)):
        raise InputError(
            f"{where}.class_weights: got {', '.join(unknown)}, wanted names among {', '.join(names)}"
        )
    if by_name and found.get("weight") is not None:
        raise InputError(f"{where}: got class_weights and weight, wanted one of them")
    weights = [float(by_name.get(name, 1)) for name in names] if by_name else found.get("weight")
    if not isinstance(weights, list):
        return found
    if len(weights) != len(names):
        raise InputError(
            f"{where}.weight: got {len(weights)} numbers, wanted one for each of {', '.join(names)}"
        )
    if "weight" not in inspect.signature(make).parameters:
        name = getattr(make, "__name__", str(make))
        raise InputError(f"{where}: {name} takes no weights of classes; the losses of conf/loss do")
    cuts_itself = getattr(make, "__name__", "") == "DiceCELoss"  # for its Dice; its cross-entropy wants all
    cut = found.get("include_background") is False and not cuts_itself
    return {**found, "weight": torch.tensor(weights[1:] if cut else weights, dtype=torch.float32)}


class Foreign:
    """A loss of another library as a loss of ours: logits (B, C, D, H, W), label values (B, 1, D, H, W)."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss
        self._placed: dict[torch.device, Any] = {}

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar of the loss, its weights moved to where the logits are."""
        loss = self._placed.setdefault(logits.device, self._on(logits.device))
        if isinstance(loss, nn.CrossEntropyLoss):
            labels = labels[:, 0].long()
        value: Tensor = loss(logits, labels)
        return value

    def _on(self, device: torch.device) -> Any:
        """A copy; MONAI moves its own weights, and checks them, which a device without values cannot."""
        if not isinstance(self._loss, nn.Module) or device.type == "cpu":
            return self._loss
        moved = copy.deepcopy(self._loss)
        for module in moved.modules():
            for name in _WEIGHTS if device.type == "meta" else ():
                if name in dict(module.named_buffers(recurse=False)):
                    setattr(module, name, None)
            if type(module).__module__.startswith("torch."):
                module.to(device)
        return moved
