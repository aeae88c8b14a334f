"""Augmentation of a batch of patches: random changes are drawn first and then applied to tensors.

Rotation and scaling resample the image in one pass; labels are resampled by a vote. Patches are read with a
margin, so that corners of rotated patches show real tissue. The chain and its default strengths are those of
nnU-Net (Isensee et al., Nature Methods 2021).
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
_HOST = torch.device("cpu")  # device of the few values that are computed once per patch
_ANY_WAY = 180.0  # degrees
# Chance of a rotation if the orientation of scans is unknown. With 0.1, two rotated ACDC scans had a Dice of
# 0.42 and 0.52.
_TURNED = 0.4
_MARGIN = 1.2  # size that is read, in multiples of the patch, along axes that it is rotated or scaled along
_LEFT_RIGHT = 2  # the axis of (D, H, W) that runs to the right
_THICK = 2.0  # slices are thick if voxels are over this many times longer across them than within them


@dataclass(frozen=True)
class AugmentSettings:
    """The chances of each change and the ranges of its strength.

    Rotation, scaling and flips are drawn per patch, changes of intensity per patch and channel.
    """

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
    """Factor on all chances except those of flips; None for the plan's."""

    def __post_init__(self) -> None:
        """Raise InputError for chances outside 0..1, unknown axes or reversed ranges."""
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
        """Return the voxels (D, H, W) to read for a patch, so that rotated corners show real tissue."""
        if not (self.rotate and self.rotate_degrees) and not self.scale:
            return patch
        across = sliced_axis(spacing)
        wide = [math.ceil(voxels * _MARGIN / 2) * 2 for voxels in patch]
        return as_size(
            [n if axis == across else more for axis, (n, more) in enumerate(zip(patch, wide, strict=True))]
        )

    def turns(self, patch: Size, spacing: Spacing, *, oriented: bool) -> tuple[float, float, float]:
        """Return the largest rotation, in degrees, about the axes D, H and W.

        A rotated patch may reach outside its margin with its outermost corners only, so a flat patch is
        rotated less out of its plane than in it. Thick slices are rotated only within their plane, by up to
        180 degrees if the orientation of scans is unknown (`oriented` is false).
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
    """The changes drawn for one patch."""

    matrix: Tensor | None
    """Map (3, 3) from offsets in the patch to offsets in the scan, in mm; None for no rotation or scaling."""
    flips: tuple[int, ...]
    """Axes of (D, H, W) to flip."""
    channels: tuple[tuple[Callable[[Tensor], object], ...], ...]
    """Changes of the intensities of each channel, applied in place one after the other."""


class Augment:
    """The augmentation of patches read with a margin; results have `patch` voxels (D, H, W)."""

    def __init__(
        self,
        settings: AugmentSettings,
        *,
        patch: Size,
        spacing: Spacing,
        swapped: Sequence[int] = (),
        oriented: bool = True,
    ) -> None:
        """Derive the rotations that patches of this size and spacing (D, H, W) allow.

        `swapped` has the label that each label becomes if left and right are flipped; empty keeps all labels.
        `oriented` is whether the orientation of scans is known.
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
        """Draw the changes of each patch of a batch."""
        settings = self._settings
        matrices = [self._draw_matrix(rng) for _ in range(patches)]
        flips = [tuple(axis for axis in settings.flip_axes if rng.random() < 0.5) for _ in range(patches)]
        intensities = [tuple(_draw_intensity(settings, rng) for _ in range(channels)) for _ in range(patches)]
        return [Changes(*drawn) for drawn in zip(matrices, flips, intensities, strict=True)]

    def apply(self, image: Tensor, labels: Tensor, changes: Sequence[Changes]) -> tuple[Tensor, Tensor]:
        """Apply the changes of each patch; return image (B, C, *patch) and labels (B, *patch), int64.

        `image` is (B, C, *margin) and `labels` (B, *margin).
        """
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
        """Resample images by `grid_sample` and labels by a vote.

        Grids are in units of half extents, in the order (W, H, D).
        """
        half_out = torch.tensor(self._patch, device=_HOST) / 2
        half_in = torch.tensor(labels.shape[1:], device=_HOST) / 2
        to_mm, to_voxel = torch.diag(self._spacing * half_out), torch.diag(1 / (self._spacing * half_in))
        theta = (to_voxel @ matrices.float() @ to_mm).flip(1, 2)
        theta = F.pad(theta, (0, 1)).to(image.device)
        grid = F.affine_grid(theta, [len(theta), 1, *self._patch], align_corners=False)
        sampled = F.grid_sample(image, grid, align_corners=False)
        return sampled, torch.stack([_sample_labels(*pair) for pair in zip(labels, grid, strict=True)])


def _sample_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """Return the labels (d, h, w) at the points of a grid (d, h, w, 3); background outside.

    `labels` is (D, H, W).
    """
    padded = F.pad(labels, (1, 2, 1, 2, 1, 2))
    cells = uniform_cells(padded)
    places = [  # coordinates in `padded`
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
    """Return the flat indices of voxels (D, H, W) in a volume of `shape`."""
    depth, height, width = places
    return (depth * shape[1] + height) * shape[2] + width


def _draw_intensity(
    settings: AugmentSettings, rng: np.random.Generator
) -> tuple[Callable[[Tensor], object], ...]:
    """Draw the changes of intensity of one channel of one patch; they act in place on (D, H, W)."""
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
    from monai.networks.layers.convutils import gaussian_1d  # takes seconds to import; only training needs it
    from monai.networks.layers.simplelayers import separable_filtering

    kernel = gaussian_1d(torch.tensor(sigma, device=_HOST), truncated=3.0).float().to(channel.device)
    channel.copy_(separable_filtering(channel[None, None], [kernel] * 3, mode="replicate")[0, 0])


def _contrast(channel: Tensor, factor: float) -> None:
    """Scale intensities about their mean, clipped to their old range."""
    mean, low, high = channel.mean(), channel.min(), channel.max()
    channel.sub_(mean).mul_(factor).add_(mean).clamp_(low, high)


def _low_resolution(channel: Tensor, zoom: float) -> None:
    small = [max(1, round(voxels * zoom)) for voxels in channel.shape]
    coarse = F.interpolate(channel[None, None], size=small, mode="nearest-exact")
    channel.copy_(F.interpolate(coarse, size=channel.shape, mode="trilinear", align_corners=False)[0, 0])


def _gamma(channel: Tensor, gamma: float, *, inverted: bool) -> None:
    """Raise intensities, scaled to 0..1, to the power `gamma`, then restore mean and standard deviation.

    With `inverted`, this is done on the negative image.
    """
    mean, spread = channel.mean(), channel.std()
    if inverted:
        channel.neg_()
    low, high = channel.min(), channel.max()
    channel.sub_(low).div_((high - low).clamp_min(1e-7)).pow_(gamma)
    if inverted:
        channel.neg_()
    channel.sub_(channel.mean()).mul_(spread / channel.std().clamp_min(1e-7)).add_(mean)


def _rotation(angles: np.ndarray) -> Tensor:
    """Return the matrix (3, 3) that rotates about the axes D, H and W in turn, by angles in radians."""
    result = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(angles):
        first, second = [other for other in range(3) if other != axis]
        turn = torch.eye(3, dtype=torch.float64)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        result = turn @ result
    return result.float()


def sliced_axis(spacing: Spacing) -> int | None:
    """Return the axis along which voxels are over twice as long as along both others, or None."""
    across = max(range(3), key=lambda axis: spacing[axis])
    others = [mm for axis, mm in enumerate(spacing) if axis != across]
    return across if spacing[across] > _THICK * max(others) else None


def _largest_turn(ratio: float) -> float:
    """Return the degrees by which a box may be rotated within its margin; `ratio` is long to short side.

    At this angle a, the box extends as far along its short side as a square rotated by 30 degrees does:
    cos a + ratio sin a = 1.366. For that square a margin of a fifth is enough except at the corners.
    """
    reach = math.cos(math.radians(30)) + math.sin(math.radians(30))
    return math.degrees(math.atan(ratio) - math.acos(reach / math.hypot(1, ratio)))


def _centre(tensor: Tensor, size: Size) -> Tensor:
    """Return the middle `size` voxels of the last three axes."""
    for axis, length in zip((-3, -2, -1), size, strict=True):
        tensor = tensor.narrow(axis, (tensor.shape[axis] - length) // 2, length)
    return tensor
