"""Rules for faults of a scan: one function per kind of fault, with the name of that kind."""

from collections.abc import Iterator

from app.core.task import Task
from app.core.types import by
from app.data.doctor.examine import ImageFacts
from app.data.doctor.finding import Finding, error, warning

# Voxels along an axis. A scan with fewer than _SLICES along the shortest axis, or fewer than _SIDE along the
# next, is not a volume (seven thick slices are common, for example of hearts); more than _HUGE are rarely one
# scan.
_SLICES, _SIDE, _HUGE = 3, 8, 1500
_FINE_MM, _COARSE_MM = 0.05, 20.0  # a spacing outside this range is probably not in millimetres


def other_channels(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """Report a scan with more or fewer channels than the task has modalities."""
    got, wanted = len(image.channels), len(task.modalities)
    if got != wanted:
        yield error(
            "other_channels",
            f"got {got} channels, dataset.json names {wanted} ({', '.join(task.modalities)})",
            "correct the scan, or modality in dataset.json",
        )


def not_finite(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """Report voxels that are NaN or infinite."""
    bad = sum(channel.not_finite for channel in image.channels)
    if bad:
        yield error(
            "not_finite",
            f"got {bad} NaN or infinite voxels",
            "check.repair sets them to the lowest value of their channel; check that this is background",
            repairable=True,
        )


def constant_image(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """Report channels in which all voxels are equal."""
    for index, channel in enumerate(image.channels):
        if channel.low == channel.high:
            yield error(
                "constant_image",
                f"channel {index} is {channel.low:g} everywhere",
                "export the scan again or remove the case from dataset.json",
            )


def tiny(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """Report a scan with one or two slices, or with a second side too short to pool even once."""
    shortest, second, _ = sorted(image.header.size)
    if shortest < _SLICES or second < _SIDE:
        yield warning(
            "tiny",
            f"scan has only {by(image.header.size)} voxels",
            "is it one slice or a localiser? It will be padded with zeros",
        )


def huge(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """Report a scan so large that preparing it takes much time and memory."""
    if max(image.header.size) > _HUGE:
        yield warning(
            "huge",
            f"scan has {by(image.header.size)} voxels",
            "crop it to the part of interest, or preparing takes long",
        )


def odd_spacing(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """Report a spacing that no scanner for people has; it is probably not in millimetres."""
    spacing = image.header.spacing
    if min(spacing) < _FINE_MM or max(spacing) > _COARSE_MM:
        yield warning(
            "odd_spacing",
            f"spacing is {' x '.join(f'{mm:.3g}' for mm in spacing)} mm",
            "is it in metres, centimetres or micrometres? Correct the header",
        )


IMAGE_RULES = (other_channels, not_finite, constant_image, tiny, huge, odd_spacing)
