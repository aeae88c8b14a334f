"""What can be wrong with a scan: a function a kind of fault, named as the fault is."""

from collections.abc import Iterator

from app.core.task import Task
from app.core.types import by
from app.data.doctor.examine import ImageFacts
from app.data.doctor.finding import Finding, error, warning

_SLICES, _SIDE, _HUGE = 3, 8, 1500  # voxels along an axis: fewer slices, or a second side below _SIDE, are no
# volume; above _HUGE it is rarely one scan. Seven thick slices, as of hearts, are common.
_FINE_MM, _COARSE_MM = 0.05, 20.0  # outside, spacing is more likely in other units than of a human scanner


def other_channels(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """More or fewer channels than the task has modalities."""
    got, wanted = len(image.channels), len(task.modalities)
    if got != wanted:
        yield error(
            "other_channels",
            f"got {got} channels, dataset.json names {wanted} ({', '.join(task.modalities)})",
            "correct the scan, or modality in dataset.json",
        )


def not_finite(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """Voxels that are NaN or infinite."""
    bad = sum(channel.not_finite for channel in image.channels)
    if bad:
        yield error(
            "not_finite",
            f"got {bad} NaN or infinite voxels",
            "check.repair sets them to the lowest value of their channel; see whether that is background",
            repairable=True,
        )


def constant_image(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """A channel in which every voxel is the same."""
    for index, channel in enumerate(image.channels):
        if channel.low == channel.high:
            yield error(
                "constant_image",
                f"channel {index} is {channel.low:g} everywhere",
                "export the scan again or take the case out of dataset.json",
            )


def tiny(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """One or two slices, or a second side too short to pool even once."""
    shortest, second, _ = sorted(image.header.size)
    if shortest < _SLICES or second < _SIDE:
        yield warning(
            "tiny",
            f"scan has only {by(image.header.size)} voxels",
            "is it one slice or a localiser? It will be padded with zeros",
        )


def huge(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """So many voxels that preparing takes long and much memory."""
    if max(image.header.size) > _HUGE:
        yield warning(
            "huge",
            f"scan has {by(image.header.size)} voxels",
            "crop it to the part of interest, or expect preparing to take long",
        )


def odd_spacing(image: ImageFacts, task: Task) -> Iterator[Finding]:
    """Voxel sizes no scanner of people has: probably not in millimetres."""
    spacing = image.header.spacing
    if min(spacing) < _FINE_MM or max(spacing) > _COARSE_MM:
        yield warning(
            "odd_spacing",
            f"spacing is {' x '.join(f'{mm:.3g}' for mm in spacing)} mm",
            "is it in metres, centimetres or micrometres? Correct the header",
        )


IMAGE_RULES = (other_channels, not_finite, constant_image, tiny, huge, odd_spacing)
