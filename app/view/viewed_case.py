"""One case as the page shows it: NIfTI bytes of its volumes, and facts about its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app.core.palette import grey_window, label_color
from app.core.types import Labels
from app.io import nifti
from app.io.label_values import as_integers, count_integers, to_classes, to_values
from app.io.volumes import LabelMap, Volume
from app.metrics.overlap import LabelGroups, overlaps

REFERENCE, PREDICTION, DIFFERENCE = "reference", "prediction", "difference"
MISSED, EXTRA, OTHER = 1, 2, 3
"""Values of the difference map: foreground of the reference only, of the prediction only, another label."""
_LONGEST_TABLE = 4096  # colours that every graphics card can hold in one row of a texture


@dataclass(frozen=True)
class ViewedCase:
    """A scan with its label maps; label maps hold values of files, on the grid of the scan."""

    title: str
    scan: Volume
    maps: Mapping[str, LabelMap]
    """REFERENCE, PREDICTION, both or none."""
    targets: LabelGroups
    ignore: int | None = None
    """The value of voxels in the reference that are not judged."""


def show(case: ViewedCase) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the NIfTI files of a case by name, and the facts for the page as plain values.

    Every file has the geometry of the scan. Label maps hold the values of their files, or positions in the
    list of values if these are too large for a table of colours.
    """
    values = _values(case)
    targets = _with_nameless(case, values)
    classes = {role: to_classes(found.voxels, values) for role, found in case.maps.items()}
    sent: Sequence[int] = values if values[-1] < _LONGEST_TABLE else range(len(values))
    files, scans = {}, []
    for number, channel in enumerate(case.scan.voxels):
        name = f"scan-{number}.nii"
        files[name] = nifti_bytes(compact(channel), case.scan.affine)
        scans.append({"file": name, "window": grey_window(channel)})
    for role, own in classes.items():
        files[f"{role}.nii"] = nifti_bytes(to_values(own, sent), case.scan.affine)
    wrong = _difference(case)
    if wrong is not None:
        files[f"{DIFFERENCE}.nii"] = nifti_bytes(wrong, case.scan.affine)
    looked_at = next(
        (found for found in (wrong, *classes.values()) if found is not None and found.any()), None
    )
    ml = case.scan.voxel_mm3 / 1000
    facts = {
        "title": case.title,
        "scans": scans,
        "maps": [role for role in (REFERENCE, PREDICTION, DIFFERENCE) if f"{role}.nii" in files],
        "labels": _labels(case, targets, classes, values, sent),
        "difference_ml": None if wrong is None else [int(n) * ml for n in count_integers(wrong, 4)],
        "size": list(case.scan.voxels.shape[1:]),
        "spacing_mm": list(case.scan.spacing),
        "start_mm": _start_mm(case.scan, looked_at),
    }
    return files, facts


def nifti_bytes(voxels: NDArray[Any], affine: NDArray[np.float64]) -> bytes:
    """Return an uncompressed NIfTI file of voxels (i, j, k) with an affine to RAS millimetres."""
    header = nifti.geometry_from(affine)
    header.set_data_dtype(voxels.dtype)
    stored: bytes = nib.Nifti1Image(voxels, None, header).to_bytes()
    return stored


def compact(channel: NDArray[np.float32]) -> NDArray[Any]:
    """Return equal values in 16 bits if they are whole and small enough, else the array itself."""
    found = as_integers(channel, (np.int16, np.uint16))
    return channel if found is None else found


def difference_map(reference: Labels, predicted: Labels, ignore: int | None = None) -> NDArray[np.uint8]:
    """Return where label values differ: MISSED, EXTRA or OTHER, else 0; also 0 where `ignore` is."""
    found = np.zeros(reference.shape, np.uint8)
    found[reference != predicted] = OTHER
    found[(found > 0) & (predicted == 0)] = MISSED
    found[(found > 0) & (reference == 0)] = EXTRA
    if ignore is not None:
        found[reference == ignore] = 0
    return found


def _difference(case: ViewedCase) -> NDArray[np.uint8] | None:
    if not {REFERENCE, PREDICTION} <= case.maps.keys():
        return None
    return difference_map(case.maps[REFERENCE].voxels, case.maps[PREDICTION].voxels, case.ignore)


def _values(case: ViewedCase) -> list[int]:
    """Return 0 and all values that label maps hold or labels have, rising."""
    named = {value for values in case.targets.values() for value in values}
    found = (np.flatnonzero(count_integers(each.voxels, 1)).tolist() for each in case.maps.values())
    return sorted({0, *named, *(int(value) for values in found for value in values)})


def _with_nameless(case: ViewedCase, values: Sequence[int]) -> dict[str, tuple[int, ...]]:
    named = {value for own in case.targets.values() for value in own}
    others = [value for value in values if value and value not in named]
    ignored = {case.ignore: " (ignored)"}
    return {**case.targets, **{f"label {value}{ignored.get(value, '')}": (value,) for value in others}}


def _labels(
    case: ViewedCase,
    targets: LabelGroups,
    classes: Mapping[str, Labels],
    values: Sequence[int],
    sent: Sequence[int],
) -> list[dict[str, Any]]:
    """Return one row per label: its name, colour, values in the files sent, volumes in ml and Dice.

    Voxels that the reference ignores are in no volume and no Dice.
    """
    places = {name: tuple(values.index(value) for value in own) for name, own in targets.items()}
    voxels = {role: count_integers(own, len(values)) for role, own in classes.items()}
    ignored = None if case.ignore is None or case.ignore not in values else values.index(case.ignore)
    if ignored is not None and REFERENCE in classes:
        unjudged = classes[REFERENCE] == ignored
        voxels = {
            role: count - count_integers(classes[role][unjudged], len(values))
            for role, count in voxels.items()
        }
    both = len(classes) == 2
    overlap = overlaps(classes[PREDICTION], classes[REFERENCE], places, ignored) if both else {}
    return [
        {
            "name": name,
            "color": label_color(index),
            "values": [sent[place] for place in places[name]],
            "ml": {
                role: int(count[list(places[name])].sum()) * case.scan.voxel_mm3 / 1000
                for role, count in voxels.items()
            },
            "dice": overlap[name].dice if both else None,
        }
        for index, name in enumerate(targets)
    ]


def _start_mm(scan: Volume, looked_at: NDArray[Any] | None) -> list[float]:
    """Return the point to show first: inside a map, on the slice with most of it, else the middle."""
    place = tuple(size // 2 for size in scan.voxels.shape[1:])
    if looked_at is not None:
        k = int(np.count_nonzero(looked_at, axis=(0, 1)).argmax())
        j = int(np.count_nonzero(looked_at[..., k], axis=0).argmax())
        marked = np.flatnonzero(looked_at[:, j, k])
        place = (int(marked[len(marked) // 2]), j, k)
    return [float(mm) for mm in (scan.affine @ (*place, 1))[:3]]
