"""Settings of augmentation, and the margins and rotations that follow from a patch's size and spacing."""

import math
from dataclasses import dataclass, replace

from app.core.errors import InputError
from app.core.slices import sliced_axis
from app.core.types import Size, Spacing, as_size

Limits = tuple[float, float]

_CHANCES = ("rotate", "scale", "noise", "blur", "brightness", "contrast", "low_resolution", "gamma")
ANY_ANGLE = 180.0  # degrees
_MARGIN = 1.2  # size that is read, in multiples of the patch, along axes that it is rotated or scaled along


@dataclass(frozen=True)
class AugmentSettings:
    """The probability of each change and the range of its strength.

    Rotation, scaling and flips are drawn per patch, changes of intensity per patch and channel.
    """

    rotate: float
    rotate_degrees: float
    scale: float
    scale_range: Limits
    flip_axes: tuple[int, ...]
    """Axes of (D, H, W), each flipped with probability 0.5."""
    noise: float
    noise_variance: Limits
    blur: float
    blur_sigma: Limits
    brightness: float
    brightness_range: Limits
    contrast: float
    contrast_range: Limits
    low_resolution: float
    low_resolution_range: Limits
    gamma: float
    gamma_range: Limits
    strength: float | None = None
    """Factor on all probabilities except those of flips; None for the plan's."""

    def __post_init__(self) -> None:
        """Raise InputError for probabilities outside 0..1, unknown axes or reversed ranges."""
        for name, value in vars(self).items():
            chance = isinstance(value, float | int) and name != "rotate_degrees"
            if chance and not 0 <= value <= 1:
                raise InputError(f"augment.{name}: got {value}, wanted a probability from 0 to 1")
            if name != "flip_axes" and isinstance(value, tuple) and (len(value) != 2 or value[0] > value[1]):
                raise InputError(f"augment.{name}: got {list(value)}, wanted [low, high]")
        if not set(self.flip_axes) <= {0, 1, 2}:
            raise InputError(f"augment.flip_axes: got {list(self.flip_axes)}, wanted axes among 0, 1, 2")

    def planned(self, strength: float) -> "AugmentSettings":
        """Return the settings with their probabilities multiplied by their own strength, or by the plan's."""
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

    def max_rotations(self, patch: Size, spacing: Spacing, *, oriented: bool) -> tuple[float, float, float]:
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
            limit = min(self.rotate_degrees, _largest_rotation(long / short))
            if axis == across and self.rotate_degrees and not oriented:
                limit = ANY_ANGLE
            limits.append(0.0 if across not in (None, axis) else limit)
        return limits[0], limits[1], limits[2]


def _largest_rotation(ratio: float) -> float:
    """Return the degrees by which a box may be rotated within its margin; `ratio` is long to short side.

    At this angle a, the box extends as far along its short side as a square rotated by 30 degrees does:
    cos a + ratio sin a = 1.366. For that square a margin of a fifth is enough except at the corners.
    """
    reach = math.cos(math.radians(30)) + math.sin(math.radians(30))
    return math.degrees(math.atan(ratio) - math.acos(reach / math.hypot(1, ratio)))
