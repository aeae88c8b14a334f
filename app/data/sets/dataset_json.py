"""Writing dataset.json: for any data set, or for a folder whose scans and labels are paired by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.errors import InputError
from app.core.files import write_json
from app.core.progress import progress_bar
from app.io.dicom_labels import holds_labels
from app.io.label_values import count_values, listed_values
from app.io.scan_paths import case_name, scans_by_case
from app.io.volumes import load_labels, read_header

DATASET_JSON = "dataset.json"
_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"))


@dataclass(frozen=True)
class FolderContents:
    """The facts found in the files: pairs (image, label), channels per scan, label values except 0."""

    folder: Path
    pairs: tuple[tuple[Path, Path], ...]
    channels: int
    values: tuple[int, ...]


def describe_folder(folder: Path) -> FolderContents:
    """Pair the files of imagesTr and labelsTr, or of images and labels, and read all label maps.

    Raises:
        InputError: dataset.json exists, the folders are missing, or a scan or a label has no partner.
    """
    if (folder / DATASET_JSON).exists():
        raise InputError(f"{folder / DATASET_JSON}: exists already; edit it, or remove it to write another")
    pairs = _pairs(folder)
    values: set[float] = set()
    with progress_bar("Reading labels", len(pairs)) as advance:
        for _, label in pairs:
            if not holds_labels(label):  # DICOM labels have names instead of values
                values |= count_values(load_labels(label)[0]).keys()
            advance(note=label.name)
    return FolderContents(folder, pairs, read_header(pairs[0][0]).channels, _whole(values))


def write_dataset_json(described: FolderContents, *, modality: Sequence[str], labels: Sequence[str]) -> Path:
    """Write dataset.json into the folder, with one name per channel and per label value.

    `labels` names the values 0, 1, 2, ... If the values have gaps, it may instead have one name for 0 and one
    for each value found.

    Raises:
        InputError: the number of names does not fit the channels or the label values.
    """
    if len(modality) != described.channels:
        raise InputError(
            f"check.modality: got {list(modality)}, the scans have {described.channels} channels; name each"
        )
    folder = described.folder
    facts = {
        "name": folder.resolve().name,
        "modality": _numbered(modality),
        "labels": _by_value(labels, described.values),
    }
    return write_dataset(folder, facts, described.pairs)


def write_dataset(
    folder: Path,
    facts: Mapping[str, Any],
    pairs: Sequence[tuple[Path, Path]],
    *,
    annotated: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write dataset.json with `facts` and the pairs (image, label) of files below `folder`; return its path.

    `annotated` has, by case, the labels that its label map annotates, for cases that do not annotate all.
    """
    partly = annotated or {}
    training = [
        {
            "image": f"./{image.relative_to(folder).as_posix()}",
            "label": f"./{label.relative_to(folder).as_posix()}",
            **({"annotated": list(partly[case])} if (case := case_name(image)) in partly else {}),
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
    scans, masks = _one_channel(scans_by_case(images)), scans_by_case(labels)
    alone = sorted(set(scans) ^ set(masks))
    if alone or not scans:
        raise InputError(
            f"{folder}: got {len(scans)} scans and {len(masks)} label maps, wanted the same names; "
            f"without partner: {', '.join(alone[:5])}"
        )
    return tuple((scans[case], masks[case]) for case in sorted(scans))


def _one_channel(scans: dict[str, Path]) -> dict[str, Path]:
    """Return scans by case, without the suffix _0000 if all have it, as in nnU-Net's <case>_0000."""
    suffix = "_0000"
    if scans and all(name.endswith(suffix) for name in scans):
        return {name.removesuffix(suffix): path for name, path in scans.items()}
    return scans


def _by_value(names: Sequence[str], values: Sequence[int]) -> dict[str, str]:
    if len(names) > max(values, default=0):
        return _numbered(names)
    if len(names) != 1 + len(values):
        raise InputError(
            f"check.labels: got {len(names)} names, {list(names)[:5]}, the label maps have the "
            f"{len(values)} values {listed_values(values)}; name 0 (background) and each of them"
        )
    return {str(value): name for value, name in zip((0, *values), names, strict=True)}


def _whole(values: Iterable[float]) -> tuple[int, ...]:
    """Return the values that are whole numbers from 1; the check of the data set reports others as errors."""
    return tuple(sorted(int(value) for value in values if value > 0 and float(value).is_integer()))


def _numbered(names: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}
