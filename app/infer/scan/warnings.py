"""Warnings about scans that differ from the training scans; such scans are segmented all the same."""

import math
from collections.abc import Sequence
from itertools import combinations

from app.core.plan import Normalisation, Plan
from app.core.scan_warning import ScanWarning
from app.core.slices import interleaved_spacing
from app.data.prepare.intensity import intensity_ranges
from app.data.prepare.prepare import Prepared
from app.io.volumes import Volume

_TIMES = 3.0  # a spacing this many times coarser or finer than the network's is far beyond augmentation
_LEAST_SHARE = 0.5  # smallest share of the training range that a CT scan must cover
_MARGIN = 0.1  # of the training range, by which a CT scan may be brighter or darker than all training scans
_BRIGHTER = 10.0  # a scan this many times brighter or darker than all training scans has another unit


def scan_warnings(
    volume: Volume, prepared: Prepared, plan: Plan, modalities: Sequence[str]
) -> list[ScanWarning]:
    """Return warnings about a scan whose spacing or intensities differ too much from the training set's."""
    if prepared.empty:
        pairs = zip(modalities, volume.voxels, strict=True)
        constant = ", ".join(f"{name} is {channel.flat[0]:g} everywhere" for name, channel in pairs)
        return [ScanWarning("empty", f"{constant}; the scan is empty, so its label map is all background")]
    found = []
    spacing = prepared.geometry.spacing
    grid = interleaved_spacing(plan.spacing, spacing)  # thin slices are shown to the network in stacks
    axes = zip("DHW", spacing, plan.spacing, strict=True)
    ratios = [mm / wanted for mm, wanted in zip(spacing, grid, strict=True)]
    odd_axes = [axis for axis, ratio in zip(axes, ratios, strict=True) if not 1 / _TIMES < ratio < _TIMES]
    if odd_axes:
        names, own, trained = (
            " x ".join(part if isinstance(part, str) else f"{part:.3g}" for part in parts)
            for parts in zip(*odd_axes, strict=True)
        )
        text = f"spacing {own} mm along {names}; the networks were trained at {trained} mm"
        found.append(ScanWarning("spacing", text))
    brightest = plan.brightest or (None,) * len(modalities)
    ranges = intensity_ranges(volume.voxels)
    known = list(zip(plan.normalisation, brightest, strict=True))
    odd = {
        i: remark
        for i, (low, high) in enumerate(ranges)
        if (remark := _intensity_remark(low, high, *known[i]))
    }
    for one, other in combinations(odd, 2):
        if not _intensity_remark(*ranges[one], *known[other]) and not _intensity_remark(
            *ranges[other], *known[one]
        ):
            text = f"{modalities[one]} looks like {modalities[other]} and vice versa; are they swapped?"
            return [*found, ScanWarning("channels_swapped", text)]
    for i, remark in odd.items():
        text = f"{modalities[i]} from {ranges[i][0]:.4g} to {ranges[i][1]:.4g}, {remark}"
        found.append(ScanWarning(f"intensity_{modalities[i]}", text))
    return found


def _intensity_remark(
    low: float, high: float, how: Normalisation, brightest: tuple[float, float] | None
) -> str:
    """Return what is unusual about a channel with values from low to high; empty if nothing is."""
    if low == high:
        return "constant; is this channel missing?"
    if how.scheme == "ct":
        shared = min(high, how.high) - max(low, how.low)
        width = how.high - how.low
        darkest, lightest = brightest or (math.inf, -math.inf)  # of training scans; labels may be brighter
        unlike = shared < _LEAST_SHARE * width and not (
            darkest - _MARGIN * width <= high <= lightest + _MARGIN * width
        )
        foreground = f"the foreground of the training set ranges from {how.low:.4g} to {how.high:.4g}"
        return f"{foreground}; is it in Hounsfield units?" if unlike else ""
    if brightest is None:
        return ""
    far = [end * times for end in brightest for times in (_BRIGHTER, 1 / _BRIGHTER)]  # ends may be negative
    if min(far) <= high <= max(far):
        return ""
    ends = f"{brightest[0]:.4g} to {brightest[1]:.4g}"
    return f"bright voxels (99.5th percentile) of training scans have {ends}; is it in the same unit?"
