"""How scans are read where their files leave a choice."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.core.errors import InputError

BY_NAME, BY_MODALITY, BY_SUFFIX = "name", "modality", "suffix"


@dataclass(frozen=True)
class Reading:
    """The order of a scan's channels, and how unevenly the slices of a series may lie.

    `channels` is `name` (in the order of file and folder names), `modality` (the names of the task's
    channels, looked for in those names and in series descriptions), `suffix` (of files named <scan>_0000,
    <scan>_0001, ... as for nnU-Net, which are one scan), or other words, one per channel.
    """

    channels: str | tuple[str, ...] = BY_NAME
    slice_jitter: float = 0.05
    """Largest distance of a slice from an even grid, as a share of the slice distance."""
    modalities: tuple[str, ...] = ()
    """Names of the channels, in order."""

    def __post_init__(self) -> None:
        """Validate the order and the share."""
        if isinstance(self.channels, str) and self.channels not in (BY_NAME, BY_MODALITY, BY_SUFFIX):
            raise InputError(
                f"channels: got {self.channels!r}, wanted {BY_NAME}, {BY_MODALITY}, {BY_SUFFIX} "
                "or a word per channel"
            )
        if not 0 <= self.slice_jitter < 0.5:
            raise InputError(f"slice_jitter: got {self.slice_jitter}, wanted 0 up to less than 0.5")

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the names of the channels are stored beside them."""
        channels = self.channels if isinstance(self.channels, str) else list(self.channels)
        return {"channels": channels, "slice_jitter": self.slice_jitter}

    @classmethod
    def from_dict(cls, values: dict[str, Any] | None, modalities: tuple[str, ...]) -> "Reading":
        """The inverse of `to_dict`; checkpoints from before have no values."""
        if values is None:
            return cls(modalities=modalities)
        channels = values["channels"]
        order = channels if isinstance(channels, str) else tuple(channels)
        return cls(order, values["slice_jitter"], modalities)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that choose the channels; none where names order them."""
        if isinstance(self.channels, str):
            return self.modalities if self.channels == BY_MODALITY else ()
        return self.channels


def matches(word: str, names: Sequence[str]) -> bool:
    """Whether a word stands by itself in one of the names, whatever the case of letters."""
    pattern = rf"(?<![a-z0-9]){re.escape(word.lower())}(?![a-z0-9])"
    return any(re.search(pattern, name.lower()) for name in names)
