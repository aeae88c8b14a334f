"""Finding the region of a scan that the second stage works in, with the first stage's network."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from app.core.plan import Plan
from app.core.types import Labels, as_size
from app.data.prepare.geometry import Geometry, Region, network_view
from app.data.prepare.prepare import prepare
from app.data.prepare.region import widened
from app.infer.scan.parts import MaskComponents
from app.infer.window.decode import most_probable_labels
from app.infer.window.sliding import SlidingSettings, sliding_logits
from app.io.volumes import Volume
from app.models.checkpoint import Locator
from app.models.network import to_device

_SLIDING = SlidingSettings(overlap=0.25, windows=2, mirror_axes=())


class RegionFinder:
    """A function that finds the region of a scan; it is the union of those that several first stages find."""

    def __init__(self, locators: Sequence[Locator], device: torch.device) -> None:
        assert locators
        self._stages = [(to_device(locator.trained_network(), device), locator) for locator in locators]

    def __call__(self, volume: Volume, plan: Plan) -> Region | None:
        """Return the region of a scan for a network of `plan`; None (the whole scan) if nothing is found."""
        found: Region | None = None
        for network, locator in self._stages:
            parts, geometry = locate(network, volume, locator.plan)
            box = box_in_scan(parts, geometry, locator.least_share)
            if box is not None:
                region = widened(box, geometry, locator.margin_mm, plan)
                found = region if found is None else found.union(region)
        return found


def locate(network: nn.Module, volume: Volume, plan: Plan) -> tuple[MaskComponents, Geometry]:
    """Return the components that a first stage finds, on its coarse grid, and the scan's geometry."""
    prepared = prepare(volume, None, plan)
    device = next(network.parameters()).device
    with torch.inference_mode():
        logits = sliding_logits(network, torch.from_numpy(prepared.image).to(device), plan, _SLIDING)
    return MaskComponents.of(most_probable_labels(logits).cpu().numpy() > 0), prepared.geometry


def box_in_scan(parts: MaskComponents, geometry: Geometry, share: float) -> Region | None:
    """Return the box around all components except small ones, (D, H, W) in voxels of the scan."""
    box = parts.box(share)
    if box is None:
        return None
    scale = [own / seen for own, seen in zip(geometry.cropped, geometry.resampled, strict=True)]
    sides = list(zip(geometry.start, scale, strict=True))
    start = [first + math.floor(low * each) for low, (first, each) in zip(box.start, sides, strict=True)]
    stop = [first + math.ceil(high * each) for high, (first, each) in zip(box.stop, sides, strict=True)]
    return Region(as_size(start), as_size(stop))


def touching(labels: Labels, geometry: Geometry) -> Region | None:
    """Return the region, enlarged by a quarter of its length on each side that labels (i, j, k) touch.

    Sides at the edge of the scan do not count. It is None if labels touch no other side.
    """
    inside = network_view(labels[None], geometry)[0]
    start, stop = list(geometry.start), list(geometry.stop)
    for axis, length in enumerate(inside.shape):
        more = math.ceil(length / 4)
        if geometry.start[axis] > 0 and inside.take(0, axis).any():
            start[axis] = max(0, geometry.start[axis] - more)
        if geometry.stop[axis] < geometry.full[axis] and inside.take(-1, axis).any():
            stop[axis] = min(geometry.full[axis], geometry.stop[axis] + more)
    grown = Region(as_size(start), as_size(stop))
    return None if grown == Region(geometry.start, geometry.stop) else grown
