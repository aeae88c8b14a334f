"""Losses of MONAI and torch, with class weights by name and labels converted to the form they expect."""

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
    """Return the arguments of a loss with its class weights, if any, as a tensor `weight`.

    Weights are given as `class_weights` by name, where missing names weigh 1, or as a list `weight`. `names`
    are the names of the network's outputs, background first if there is one. `where` begins the messages.

    Raises:
        InputError: the loss takes no weights, both forms are given, or a name or the number of weights is
            wrong.
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
    cuts_itself = getattr(make, "__name__", "") == "DiceCELoss"  # for Dice; its cross-entropy needs all
    cut = found.get("include_background") is False and not cuts_itself
    return {**found, "weight": torch.tensor(weights[1:] if cut else weights, dtype=torch.float32)}


class ExternalLoss:
    """A loss of another library, called with logits (B, C, D, H, W) and label values (B, 1, D, H, W)."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss
        self._placed: dict[torch.device, Any] = {}

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss as a scalar; class weights are moved to the device of the logits."""
        if logits.device not in self._placed:
            self._placed[logits.device] = self._on(logits.device)
        loss = self._placed[logits.device]
        if isinstance(loss, nn.CrossEntropyLoss):
            labels = labels[:, 0].long()
        value: Tensor = loss(logits, labels)
        return value

    def _on(self, device: torch.device) -> Any:
        """Return the loss with its weights on a device.

        MONAI's losses move their weights themselves. On the meta device their check of the weights' values
        would fail, so weights are removed there.
        """
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
