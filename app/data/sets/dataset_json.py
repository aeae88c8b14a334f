"""dataset.json: written for any data set; for a folder that has none, from files paired by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.errors import InputError
from app.core.files import write_json
from app.core.progress import progress_bar
from app.io.label_values import count_values
from app.io.volumes import load_labels, read_header, scans_by_case

DATASET_JSON = "dataset.json"
_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"))


@dataclass(frozen=True)
class FolderContents:
    """What the files themselves tell: pairs (image, label), channels of a scan, largest label value."""

    folder: Path
    pairs: tuple[tuple[Path, Path], ...]
    channels: int
    largest_label: int


def describe(folder: Path) -> FolderContents:
    """Pair the files of imagesTr and labelsTr, or images and labels, and look into all label maps.

    Raises:
        InputError: dataset.json is there already, no such folders, a scan without label or the other way.
    """
    if (folder / DATASET_JSON).exists():
        raise InputError(f"{folder / DATASET_JSON}: is there already; edit it, or remove it to write another")
    pairs = _pairs(folder)
    largest = 0.0
    with progress_bar("Reading labels", len(pairs)) as advance:
        for _, label in pairs:
            largest = max(largest, *count_values(load_labels(label)[0]))
            advance(note=label.name)
    return FolderContents(folder, pairs, read_header(pairs[0][0]).channels, int(largest))


def write_dataset_json(described: FolderContents, *, modality: Sequence[str], labels: Sequence[str]) -> Path:
    """Write dataset.json into the folder, with one name per channel and per label value from 0.

    Raises:
        InputError: more or fewer names than channels, or fewer than label values.
    """
    if len(modality) != described.channels:
        raise InputError(
            f"check.modality: got {list(modality)}, the scans have {described.channels} channels; name each"
        )
    if len(labels) <= described.largest_label:
        raise InputError(
            f"check.labels: got {list(labels)}, the label maps have values up to {described.largest_label}; "
            "name each from 0 (background)"
        )
    folder = described.folder
    facts = {
        "name": folder.resolve().name,
        "modality": _numbered(modality),
        "labels": _numbered(labels),
    }
    return write_dataset(folder, facts, described.pairs)


def write_dataset(folder: Path, facts: Mapping[str, Any], pairs: Sequence[tuple[Path, Path]]) -> Path:
    """Write dataset.json: `facts`, then the pairs (image, label) of files below `folder`; return its path."""
    training = [
        {
            "image": f"./{image.relative_to(folder).as_posix()}",
            "label": f"./{label.relative_to(folder).as_posix()}",
        }
        for image, label in pairs
    ]
    write_json(folder / DATASET_JSON, {**facts, "numTraining": len(training), "training": training})
    return folder / DATASET_JSON


def _pairs(folder: Path) -> tuple[tuple[Path, Path], ...]:
    for names in _FOLDERS:
        images, labels = (folder / name for name in names)
        if images.is_dir() and labels.is_dir():
            break
    else:
        raise InputError(f"{folder}: wanted the folders imagesTr and labelsTr, or images and labels, in it")
    scans, masks = scans_by_case(images), scans_by_case(labels)
    alone = sorted(set(scans) ^ set(masks))
    if alone or not scans:
        raise InputError(
            f"{folder}: got {len(scans)} scans and {len(masks)} label maps, wanted the same names; "
            f"without partner: {', '.join(alone[:5])}"
        )
    return tuple((scans[case], masks[case]) for case in sorted(scans))


def _numbered(names: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}
