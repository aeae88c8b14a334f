"""The reasons for a plan's values, as sentences for people who work with scans."""

import math
from collections.abc import Sequence

from app.core.plan import Normalisation
from app.core.types import Size, Spacing, as_size, by

BRIGHTEST_REASON = (
    "99.5th percentile of each channel in the darkest and in the brightest scan; predictions warn of scans "
    "far outside this range"
)


def patch_reason(patch: Size, scan: Size, spacing: Spacing, most: int) -> str:
    """Return the reason for a patch.

    A typical scan has `scan` voxels (D, H, W) of `spacing` mm; a patch may have about `most` voxels.
    """
    seen = by(as_size([round(n * mm) for n, mm in zip(patch, spacing, strict=True)]))
    if all(n >= extent for n, extent in zip(patch, scan, strict=True)):
        why = f"a whole typical scan of {by(scan)} voxels fits"
    elif math.prod(scan) <= most:
        why = f"nearly all of a typical scan of {by(scan)} voxels"
    else:
        why = f"a part of about {most} voxels (plan.max_patch_voxels) of a typical scan of {by(scan)}"
    return f"{why}, rounded so that each level halves it evenly; the network sees {seen} mm at once"


def oriented_reason(*, oriented: bool) -> str:
    """Return a sentence on whether all headers give the orientation of their scan, and what follows."""
    if oriented:
        return "the headers of all scans give their orientation"
    return (
        "some headers give only voxel sizes, so scans may be rotated: stacks of thick slices are "
        "rotated by up to 180 degrees in plane"
    )


def normalisation_reason(
    channels: Sequence[Normalisation], modalities: Sequence[str], nonzero_share: Sequence[float]
) -> str:
    """Return the reasons for the normalisation, one clause per channel.

    `nonzero_share` is the share of non-zero voxels of each channel in a typical scan.
    """
    words = {"ct": _ct, "zscore": _zscore, "zscore_nonzero": _nonzero}
    return "; ".join(
        f"{name}: {words[channel.scheme](channel, share)}"
        for name, channel, share in zip(modalities, channels, nonzero_share, strict=True)
    )


def foreground_reason(name: str, met: float, labels: int, bounds: tuple[float, float]) -> str:
    """Return the reason for the share of patches centred on foreground.

    `name` is the label found in the fewest patches drawn from anywhere in a scan, `met` the share of such
    patches that contain some of it, and `labels` the number of labels. `bounds` are the shares centred on
    foreground if all patches, or none, contain it.
    """
    least, most = (f"{100 * share:.0f} %" for share in bounds)
    if met > 0.995:
        each = name if labels == 1 else "every label"
        return f"a patch from anywhere in a scan contains {each}, so only {least} are centred on foreground"
    hardest = "" if labels == 1 else ", the label that the fewest patches contain"
    return (
        f"{100 * met:.0f} % of patches from anywhere in a scan contain {name}{hardest}; the share of patches "
        f"centred on foreground is between {least}, if all contain it, and {most}, if none does"
    )


def steps_reason(scans: int, parts: float, batch: int, passes: int, *, wanted: int, got: int) -> str:
    """Return the reason for `got` steps.

    `wanted` steps would pass over `scans` scans `passes` times; one scan has the volume of `parts` patches.
    """
    text = (
        f"{passes} passes (plan.passes) over {scans} scans of {patches(round(parts, 1))} each, "
        f"{patches(batch)} per step"
    )
    if got < wanted:
        return f"{text}, would take {wanted} steps; plan.max_steps limits them"
    if got > wanted:
        return f"{text}, would take {wanted} steps; fewer than {got} are too few to train a network"
    return f"{text}; rounded up to whole hundreds"


def patches(count: float) -> str:
    """Return a count of patches as text, such as `1 patch` or `5.3 patches`."""
    return f"{count:g} patch{'' if count == 1 else 'es'}"


def _ct(channel: Normalisation, _share: float) -> str:
    return (
        "Hounsfield units mean the same in every scan, so all scans are clipped to "
        f"{channel.low:.0f}..{channel.high:.0f} (the 0.5th and 99.5th percentile of labelled voxels); then "
        f"the mean {channel.mean:.0f} is subtracted and the result divided by the standard deviation "
        f"{channel.std:.0f}"
    )


def _zscore(_channel: Normalisation, _share: float) -> str:
    return "intensities have no common unit, so each scan is normalised to mean 0 and standard deviation 1"


def _nonzero(_channel: Normalisation, share: float) -> str:
    return (
        f"{100 * (1 - share):.0f} % of a typical scan is exactly 0 and therefore masked; the rest of each "
        "scan is normalised to mean 0 and standard deviation 1"
    )
