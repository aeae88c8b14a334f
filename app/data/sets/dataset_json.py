"""dataset.json for a folder of scans and label maps that has none: files are paired by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import InputError
from app.core.files import write_json
from app.core.progress import progress_bar
from app.io.label_values import count_values
from app.io.volumes import SUFFIXES, case_name, load_labels, read_header

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
    if (folder / "dataset.json").exists():
        raise InputError(
            f"{folder / 'dataset.json'}: is there already; edit it, or remove it to write another"
        )
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
    entries = [
        {key: f"./{path.relative_to(described.folder)}" for key, path in (("image", image), ("label", label))}
        for image, label in described.pairs
    ]
    path = described.folder / "dataset.json"
    facts = {
        "name": described.folder.resolve().name,
        "modality": _numbered(modality),
        "labels": _numbered(labels),
        "numTraining": len(entries),
        "training": entries,
    }
    write_json(path, facts)
    return path


def _pairs(folder: Path) -> tuple[tuple[Path, Path], ...]:
    for names in _FOLDERS:
        images, labels = (folder / name for name in names)
        if images.is_dir() and labels.is_dir():
            break
    else:
        raise InputError(f"{folder}: wanted the folders imagesTr and labelsTr, or images and labels, in it")
    scans, masks = _by_case(images), _by_case(labels)
    alone = sorted(set(scans) ^ set(masks))
    if alone or not scans:
        raise InputError(
            f"{folder}: got {len(scans)} scans and {len(masks)} label maps, wanted the same names; "
            f"without partner: {', '.join(alone[:5])}"
        )
    return tuple((scans[case], masks[case]) for case in sorted(scans))


def _by_case(folder: Path) -> dict[str, Path]:
    """Scans by name, sub-folders (a DICOM series, a folder of channels) included."""
    found = [path for path in folder.iterdir() if path.name[0] != "."]
    return {case_name(path): path for path in found if path.is_dir() or path.name.endswith(SUFFIXES)}


def _numbered(names: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}
