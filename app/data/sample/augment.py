"""Augmentation of a whole batch on tensors: parameters are drawn in one place, applied in another.

Rotation, scaling and flips happen in one pass over the image, labels of turned patches by a vote;
patches come with a margin, so that turned corners show real tissue. The chain and its default strengths
are those of nnU-Net (Isensee et al., Nature Methods 2021).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from app.core.errors import InputError
from app.core.types import Size, Spacing, as_size
from app.data.prepare.label_vote import Ends, settle_mixed, uniform_cells

Range = tuple[float, float]

_CHANCES = ("rotate", "scale", "noise", "blur", "brightness", "contrast", "low_resolution", "gamma")
_HOST = torch.device("cpu")  # where the little that is computed once a patch is
_ANY_WAY = 180.0  # degrees
_TURNED = (
    0.4  # chance of a turn where scans may lie any way: with 0.1 two turned ACDC scans had Dice .42, .52
)
_MARGIN = 1.2  # times the patch is read, along an axis that it is turned or scaled along
_LEFT_RIGHT = 2  # the axis of (D, H, W) that runs to the right
_THICK = 2.0  # times longer than the next are voxels of a stack of slices across it


@dataclass(frozen=True)
class AugmentSettings:
    """Chances per patch (intensity: per patch and channel) and ranges of strengths."""

    rotate: float
    rotate_degrees: float
    scale: float
    scale_range: Range
    flip_axes: tuple[int, ...]
    """Axes of (D, H, W) flipped with chance 0.5 each."""
    noise: float
    noise_variance: Range
    blur: float
    blur_sigma: Range
    brightness: float
    brightness_range: Range
    contrast: float
    contrast_range: Range
    low_resolution: float
    low_resolution_range: Range
    gamma: float
    gamma_range: Range
    strength: float | None = None
    """What the chances are multiplied by, except those of flips; None for what the plan says."""

    def __post_init__(self) -> None:
        """Refuse probabilities outside 0..1, unknown axes and reversed ranges."""
        for name, value in vars(self).items():
            chance = isinstance(value, float | int) and name != "rotate_degrees"
            if chance and not 0 <= value <= 1:
                raise InputError(f"augment.{name}: got {value}, wanted a chance from 0 to 1")
            if name != "flip_axes" and isinstance(value, tuple) and (len(value) != 2 or value[0] > value[1]):
                raise InputError(f"augment.{name}: got {list(value)}, wanted [low, high]")
        if not set(self.flip_axes) <= {0, 1, 2}:
            raise InputError(f"augment.flip_axes: got {list(self.flip_axes)}, wanted axes among 0, 1, 2")

    def planned(self, strength: float) -> "AugmentSettings":
        """Return the settings with their chances multiplied by their own strength, or by the plan's."""
        factor = strength if self.strength is None else self.strength
        chances = {name: factor * getattr(self, name) for name in _CHANCES}
        return replace(self, **chances, strength=1.0)

    def margin(self, patch: Size, spacing: Spacing) -> Size:
        """Voxels to read per axis for a patch of `patch`, so that turned and shrunk corners are inside."""
        if not (self.rotate and self.rotate_degrees) and not self.scale:
            return patch
        across = sliced_axis(spacing)
        wide = [math.ceil(voxels * _MARGIN / 2) * 2 for voxels in patch]
        return as_size(
            [n if axis == across else more for axis, (n, more) in enumerate(zip(patch, wide, strict=True))]
        )

    def turns(self, patch: Size, spacing: Spacing, *, oriented: bool) -> tuple[float, float, float]:
        """Degrees by which a patch is turned at most about the axes D, H and W.

        No further than the margin shows real tissue but for the outermost corners: a flat patch is turned
        less out of its plane than in it. A stack of thick slices is turned only within them; where nobody
        knows how it lies, all the way.
        """
        extents = [voxels * mm for voxels, mm in zip(patch, spacing, strict=True)]
        across = sliced_axis(spacing)
        limits = []
        for axis in range(3):
            short, long = sorted(extents[other] for other in range(3) if other != axis)
            limit = min(self.rotate_degrees, _largest_turn(long / short))
            if axis == across and self.rotate_degrees and not oriented:
                limit = _ANY_WAY
            limits.append(0.0 if across not in (None, axis) else limit)
        return limits[0], limits[1], limits[2]


@dataclass(frozen=True)
class Changes:
    """What was drawn for one patch."""

    matrix: Tensor | None
    """Millimetre offsets in the patch -> millimetre offsets in the scan; None for no change."""
    flips: tuple[int, ...]
    channels: tuple[tuple[Callable[[Tensor], object], ...], ...]
    """Of each channel, changes of its intensities in place, one after the other."""


class Augment:
    """Turns patches read with a margin into augmented patches of `patch` voxels."""

    def __init__(
        self,
        settings: AugmentSettings,
        *,
        patch: Size,
        spacing: Spacing,
        swapped: Sequence[int] = (),
        oriented: bool = True,
    ) -> None:
        """`swapped` says which label each one becomes where left and right are flipped; empty: itself.

        `oriented` says whether it is known how scans lie.
        """
        self._settings = settings
        self._patch = patch
        self._spacing = torch.tensor(spacing)
        self._turns = settings.turns(patch, spacing, oriented=oriented)
        anyhow = settings.rotate > 0 and max(self._turns) == _ANY_WAY
        self._rotate = max(settings.rotate, _TURNED) if anyhow else settings.rotate
        self._across = sliced_axis(spacing)
        self._swapped = torch.tensor(swapped, dtype=torch.int64)

    def draw(self, patches: int, channels: int, rng: np.random.Generator) -> list[Changes]:
        """What is done to each patch of a batch."""
        settings = self._settings
        matrices = [self._draw_matrix(rng) for _ in range(patches)]
        flips = [tuple(axis for axis in settings.flip_axes if rng.random() < 0.5) for _ in range(patches)]
        intensities = [tuple(_draw_intensity(settings, rng) for _ in range(channels)) for _ in range(patches)]
        return [Changes(*drawn) for drawn in zip(matrices, flips, intensities, strict=True)]

    def apply(self, image: Tensor, labels: Tensor, changes: Sequence[Changes]) -> tuple[Tensor, Tensor]:
        """(B, C, *margin) and (B, *margin) -> (B, C, *patch) and (B, *patch), labels as int64."""
        image, labels = self._spatial(image, labels, changes)
        for sample, drawn in zip(image, changes, strict=True):
            for channel, steps in zip(sample, drawn.channels, strict=True):
                for change in steps:
                    change(channel)
        return image, labels

    def _spatial(self, image: Tensor, labels: Tensor, changes: Sequence[Changes]) -> tuple[Tensor, Tensor]:
        cut_image, cut_labels = _centre(image, self._patch).clone(), _centre(labels, self._patch).long()
        swapped = self._swapped.to(labels.device)
        matrices = {index: drawn.matrix for index, drawn in enumerate(changes) if drawn.matrix is not None}
        if matrices:
            turned, stacked = list(matrices), torch.stack(list(matrices.values()))
            cut_image[turned], voted = self._resample(image[turned], labels[turned], stacked)
            cut_labels[turned] = voted.long()
        for index, drawn in enumerate(changes):
            if drawn.flips:
                cut_image[index] = cut_image[index].flip([axis + 1 for axis in drawn.flips])
                flipped = cut_labels[index].flip(drawn.flips)
                other_side = len(swapped) > 0 and _LEFT_RIGHT in drawn.flips
                cut_labels[index] = swapped[flipped] if other_side else flipped
        return cut_image, cut_labels

    def _draw_matrix(self, rng: np.random.Generator) -> Tensor | None:
        settings = self._settings
        matrix = None
        if rng.random() < self._rotate:
            limits = np.radians(self._turns)
            matrix = _rotation(rng.uniform(-limits, limits))
        if rng.random() < settings.scale:
            zoom = rng.uniform(*settings.scale_range)
            zooms = torch.tensor([1.0 if axis == self._across else zoom for axis in range(3)])
            matrix = (torch.eye(3) if matrix is None else matrix) / zooms
        return matrix

    def _resample(self, image: Tensor, labels: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Image by `grid_sample`, labels by vote; grids count half extents, order (W, H, D)."""
        half_out = torch.tensor(self._patch, device=_HOST) / 2
        half_in = torch.tensor(labels.shape[1:], device=_HOST) / 2
        to_mm, to_voxel = torch.diag(self._spacing * half_out), torch.diag(1 / (self._spacing * half_in))
        theta = (to_voxel @ matrices.float() @ to_mm).flip(1, 2)
        theta = F.pad(theta, (0, 1)).to(image.device)
        grid = F.affine_grid(theta, [len(theta), 1, *self._patch], align_corners=False)
        sampled = F.grid_sample(image, grid, align_corners=False)
        return sampled, torch.stack([_sample_labels(*pair) for pair in zip(labels, grid, strict=True)])


def _sample_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """Labels (D, H, W) at the places of a grid (d, h, w, 3) -> (d, h, w); background outside."""
    padded = F.pad(labels, (1, 2, 1, 2, 1, 2))
    cells = uniform_cells(padded)
    places = [  # in the padded
        (grid[..., 2 - axis] + 1).mul_(length / 2).add_(0.5).clamp_(0, length + 1)
        for axis, length in enumerate(labels.shape)
    ]
    low = [place.to(torch.int32) for place in places]
    points = cells.view(-1).index_select(0, _flat(low, cells.shape).view(-1)).view(grid.shape[:3])

    def between(chosen: Tensor) -> tuple[Tensor, Ends]:
        first = [each.view(-1)[chosen] for each in low]
        depth, height, width = (
            place.view(-1)[chosen] - each for place, each in zip(places, first, strict=True)
        )
        return _flat(first, padded.shape), (depth, height, width)

    return settle_mixed(points, padded, between)


def _flat(places: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Flat numbers of voxels (D, H, W) in a volume of `shape`."""
    depth, height, width = places
    return (depth * shape[1] + height) * shape[2] + width


def _draw_intensity(
    settings: AugmentSettings, rng: np.random.Generator
) -> tuple[Callable[[Tensor], object], ...]:
    """Changes of one channel (D, H, W) of one patch, in place."""
    drawn: list[Callable[[Tensor], object]] = []
    if rng.random() < settings.noise:
        seed = int(rng.integers(2**62))
        drawn.append(partial(_noise, seed=seed, spread=math.sqrt(rng.uniform(*settings.noise_variance))))
    if rng.random() < settings.blur:
        drawn.append(partial(_blur, sigma=rng.uniform(*settings.blur_sigma)))
    if rng.random() < settings.brightness:
        drawn.append(partial(Tensor.mul_, other=rng.uniform(*settings.brightness_range)))
    if rng.random() < settings.contrast:
        drawn.append(partial(_contrast, factor=rng.uniform(*settings.contrast_range)))
    if rng.random() < settings.low_resolution:
        drawn.append(partial(_low_resolution, zoom=rng.uniform(*settings.low_resolution_range)))
    if rng.random() < settings.gamma:
        gamma = rng.uniform(*settings.gamma_range)
        drawn.append(partial(_gamma, gamma=gamma, inverted=rng.random() < 0.25))
    return tuple(drawn)


def _noise(channel: Tensor, seed: int, spread: float) -> None:
    generator = torch.Generator(channel.device).manual_seed(seed)
    noise = torch.empty_like(channel).normal_(generator=generator)
    channel.add_(noise, alpha=spread)


def _blur(channel: Tensor, sigma: float) -> None:
    from monai.networks.layers.convutils import gaussian_1d  # seconds to import, for training alone
    from monai.networks.layers.simplelayers import separable_filtering

    kernel = gaussian_1d(torch.tensor(sigma, device=_HOST), truncated=3.0).float().to(channel.device)
    channel.copy_(separable_filtering(channel[None, None], [kernel] * 3, mode="replicate")[0, 0])


def _contrast(channel: Tensor, factor: float) -> None:
    """Spread intensities about their mean, inside their old range."""
    mean, low, high = channel.mean(), channel.min(), channel.max()
    channel.sub_(mean).mul_(factor).add_(mean).clamp_(low, high)


def _low_resolution(channel: Tensor, zoom: float) -> None:
    small = [max(1, round(voxels * zoom)) for voxels in channel.shape]
    coarse = F.interpolate(channel[None, None], size=small, mode="nearest-exact")
    channel.copy_(F.interpolate(coarse, size=channel.shape, mode="trilinear", align_corners=False)[0, 0])


def _gamma(channel: Tensor, gamma: float, *, inverted: bool) -> None:
    """Bend intensities by a power, on the negative image where asked, keeping mean and spread."""
    mean, spread = channel.mean(), channel.std()
    if inverted:
        channel.neg_()
    low, high = channel.min(), channel.max()
    channel.sub_(low).div_((high - low).clamp_min(1e-7)).pow_(gamma)
    if inverted:
        channel.neg_()
    channel.sub_(channel.mean()).mul_(spread / channel.std().clamp_min(1e-7)).add_(mean)


def _rotation(angles: np.ndarray) -> Tensor:
    """Rotation about the axes D, H and W in turn, by radians."""
    result = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(angles):
        first, second = [other for other in range(3) if other != axis]
        turn = torch.eye(3, dtype=torch.float64)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        result = turn @ result
    return result.float()


def sliced_axis(spacing: Spacing) -> int | None:
    """Return the axis along which slices are thick, over twice as long as voxels are along both others."""
    across = max(range(3), key=lambda axis: spacing[axis])
    others = [mm for axis, mm in enumerate(spacing) if axis != across]
    return across if spacing[across] > _THICK * max(others) else None


def _largest_turn(ratio: float) -> float:
    """Return the degrees by which a box of such sides, long to short, turns before its margin runs out.

    The long side then reaches as far across the short one as the corners of a square turned by 30 degrees,
    for which a margin of a fifth is enough but for the corners themselves: cos a + ratio sin a = 1.366.
    """
    reach = math.cos(math.radians(30)) + math.sin(math.radians(30))
    return math.degrees(math.atan(ratio) - math.acos(reach / math.hypot(1, ratio)))


def _centre(tensor: Tensor, size: Size) -> Tensor:
    """The middle `size` voxels of the last three axes."""
    for axis, length in zip((-3, -2, -1), size, strict=True):
        tensor = tensor.narrow(axis, (tensor.shape[axis] - length) // 2, length)
    return tensor
