"""A network over a volume larger than its patch: overlapping windows, Gaussian weights, mirror TTA."""

import math
from dataclasses import dataclass
from itertools import chain, combinations

import torch
from monai.inferers.inferer import SlidingWindowInferer
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.plan import Plan
from app.core.types import Size, as_size

_STRETCH = (
    1.25  # a window may be this much longer than the patch: cheaper than two, and norms see the same scale
)


@dataclass(frozen=True)
class SlidingSettings:
    """How windows are laid and what is averaged."""

    overlap: float
    """Share of a window that its neighbour covers too."""
    windows: int
    """Windows per forward pass."""
    mirror_axes: tuple[int, ...]
    """Axes of (D, H, W) over whose mirror images, and their combinations, predictions are averaged."""

    def __post_init__(self) -> None:
        """Refuse what no window can be laid by."""
        if not 0 <= self.overlap < 1:
            raise InputError(f"overlap: got {self.overlap}, wanted from 0 to below 1")
        if self.windows < 1:
            raise InputError(f"windows: got {self.windows}, wanted at least 1")
        if not set(self.mirror_axes) <= {0, 1, 2}:
            raise InputError(f"mirror_axes: got {list(self.mirror_axes)}, wanted axes among 0, 1, 2")


@torch.inference_mode()
def sliding_logits(network: nn.Module, image: Tensor, plan: Plan, settings: SlidingSettings) -> Tensor:
    """(C, D, H, W) -> logits (L, D, H, W) on the image's device; `network` must be in eval mode."""
    inferer = SlidingWindowInferer(
        roi_size=window_size(as_size(image.shape[1:]), plan),
        sw_batch_size=settings.windows,
        overlap=settings.overlap,
        mode="gaussian",
        sigma_scale=0.125,
        cache_roi_weight_map=True,
    )
    total: Tensor | None = None
    flips = _mirrors(settings.mirror_axes)
    for axes in flips:
        turned = image[None].flip(axes) if axes else image[None]
        logits = inferer(turned, network)
        assert isinstance(logits, Tensor)
        logits = logits.flip(axes) if axes else logits
        total = logits if total is None else total.add_(logits)
    assert total is not None
    return total[0] / len(flips)


def window_size(volume: Size, plan: Plan) -> Size:
    """The patch, but along an axis hardly longer than it one longer window instead of two that overlap."""
    sizes = []
    for extent, length, multiple in zip(volume, plan.patch, plan.total_stride, strict=True):
        whole = math.ceil(extent / multiple) * multiple
        sizes.append(whole if length < whole <= _STRETCH * length else length)
    return as_size(sizes)


def _mirrors(axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every subset of the axes, the empty one first, as axes of (B, C, D, H, W)."""
    subsets = chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1))
    return [tuple(axis + 2 for axis in subset) for subset in subsets]
