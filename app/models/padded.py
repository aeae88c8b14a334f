"""Padding for networks that halve every axis the same number of times, for sizes that do not halve evenly."""

from torch import Tensor, nn
from torch.nn import functional

from app.core.types import Size


class Padded(nn.Module):
    """A network whose input (B, C, D, H, W) is padded with edge values to multiples of `step`.

    The logits are cut back to the input's size. If the network returns a list of logits (deep supervision in
    training mode), all are resized to that size.
    """

    def __init__(self, net: nn.Module, step: int) -> None:
        super().__init__()
        self.net = net
        self._step = step

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map (B, C, D, H, W) to logits of the same size, or a list of them."""
        size = (int(x.shape[2]), int(x.shape[3]), int(x.shape[4]))
        missing = [-n % self._step for n in size]
        if any(missing):
            sides = [side for more in reversed(missing) for side in (0, more)]
            x = functional.pad(x, sides, mode="replicate")
        outputs = self.net(x)
        if isinstance(outputs, Tensor):
            return _cut(outputs, size)
        whole = tuple(int(n) for n in x.shape[2:])
        return [_cut(_resized(level, whole), size) for level in outputs]


def _resized(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    return logits if logits.shape[2:] == size else functional.interpolate(logits, size)


def _cut(logits: Tensor, size: Size) -> Tensor:
    return logits[:, :, : size[0], : size[1], : size[2]]
