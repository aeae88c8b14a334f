"""Networks that halve every axis alike, fed with sizes that do not halve evenly."""

from torch import Tensor, nn
from torch.nn import functional

from app.core.types import Size


class Padded(nn.Module):
    """Pads (B, C, D, H, W) by its edge values to multiples of `step`, and cuts the logits back to that size.

    While training with deep supervision the network's further outputs are brought to the same size.
    """

    def __init__(self, net: nn.Module, step: int) -> None:
        super().__init__()
        self.net = net
        self._step = step

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """See the class."""
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
