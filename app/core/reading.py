"""Settings for reading scans: the order of channels, and the tolerance for uneven slices."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.core.errors import InputError

BY_NAME, BY_MODALITY, BY_SUFFIX = "name", "modality", "suffix"


@dataclass(frozen=True)
class Reading:
    """The settings for reading a scan: its channel order, and how uneven its slice distances may be.

    `channels` is one of:
    `name`: channels follow the order of file and folder names.
    `modality`: each of the task's channel names is searched in file and folder names and in series
    descriptions.
    `suffix`: files <scan>_0000, <scan>_0001, ... are the channels of one scan, as for nnU-Net.
    A tuple of words, one per channel: searched like `modality`.
    """

    channels: str | tuple[str, ...] = BY_NAME
    slice_jitter: float = 0.05
    """Largest allowed distance of a slice from an even grid, as a share of the slice distance."""
    modalities: tuple[str, ...] = ()
    """Names of the channels, in order."""

    def __post_init__(self) -> None:
        """Validate the channel order and the share."""
        if isinstance(self.channels, str) and self.channels not in (BY_NAME, BY_MODALITY, BY_SUFFIX):
            raise InputError(
                f"channels: got {self.channels!r}, wanted {BY_NAME}, {BY_MODALITY}, {BY_SUFFIX} "
                "or a word per channel"
            )
        if not 0 <= self.slice_jitter < 0.5:
            raise InputError(f"slice_jitter: got {self.slice_jitter}, wanted 0 up to less than 0.5")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without `modalities`, which checkpoints store separately."""
        channels = self.channels if isinstance(self.channels, str) else list(self.channels)
        return {"channels": channels, "slice_jitter": self.slice_jitter}

    @classmethod
    def from_dict(cls, values: dict[str, Any] | None, modalities: tuple[str, ...]) -> "Reading":
        """Rebuild from `to_dict`; None, as in older checkpoints, gives the defaults."""
        if values is None:
            return cls(modalities=modalities)
        channels = values["channels"]
        order = channels if isinstance(channels, str) else tuple(channels)
        return cls(order, values["slice_jitter"], modalities)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that identify the channels; empty if `channels` is `name` or `suffix`."""
        if isinstance(self.channels, str):
            return self.modalities if self.channels == BY_MODALITY else ()
        return self.channels


DEFAULT_READING = Reading()


def matches(word: str, names: Sequence[str]) -> bool:
    """Return whether one of the names contains the word as a whole word; upper and lower case are equal."""
    pattern = rf"(?<![a-z0-9]){re.escape(word.lower())}(?![a-z0-9])"
    return any(re.search(pattern, name.lower()) for name in names)
