"""Clean-up of predicted label maps, for labels for which cross-validation showed a gain."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.types import Labels


@dataclass(frozen=True)
class Cleanup:
    """The labels of which only the largest component is kept, and the labels whose holes are filled."""

    largest_component: tuple[str, ...]
    fill_holes: tuple[str, ...]


NO_CLEANUP = Cleanup((), ())


def clean(labels: Labels, cleanup: Cleanup, names: Sequence[str]) -> None:
    """Clean up a label map (i, j, k) in place: remove components first, then fill holes."""
    boxes = ndimage.find_objects(labels, max_label=len(names) - 1) if cleanup != NO_CLEANUP else []
    for step, chosen in ((keep_largest, cleanup.largest_component), (fill_holes, cleanup.fill_holes)):
        for value, box in enumerate(boxes, start=1):
            if box is not None and names[value] in chosen:
                step(labels[box], value)


def keep_largest(labels: Labels, value: int) -> None:
    """Turn all components of a label except the largest into background, in place.

    Components connect by faces; ties keep the first.
    """
    components, count = ndimage.label(labels == value)
    if count > 1:
        sizes = np.bincount(components.ravel())[1:]
        labels[(components > 0) & (components != sizes.argmax() + 1)] = 0


def fill_holes(labels: Labels, value: int) -> None:
    """Fill background that a label encloses on all sides, in place; other labels inside stay."""
    filled = ndimage.binary_fill_holes(labels == value)
    labels[filled & (labels == 0)] = value


def write_cleanup(run: Path, cleanup: Cleanup, evidence: object) -> None:
    """Record the clean-up of a run's predictions, and the evidence for it, in the run folder."""
    write_json(run / run_folder.CLEANUP, {**asdict(cleanup), "evidence": evidence})


def read_cleanup(runs: Sequence[Path]) -> Cleanup:
    """Return the clean-up that all runs record; a run without a record has none.

    Raises:
        InputError: a file is not a record of clean-up.
    """
    found = [_read(run / run_folder.CLEANUP) for run in runs]
    return Cleanup(
        _in_all([cleanup.largest_component for cleanup in found]),
        _in_all([cleanup.fill_holes for cleanup in found]),
    )


def _read(path: Path) -> Cleanup:
    if not path.is_file():
        return NO_CLEANUP
    values = read_json(path)
    try:
        return Cleanup(tuple(values["largest_component"]), tuple(values["fill_holes"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a record of clean-up ({error!r})") from None


def _in_all(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for name in lists[0] if all(name in others for others in lists[1:]))
