"""A data set with more cases, or with corrected label maps, in a dataset.json beside the one there is."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.errors import InputError
from app.core.listed import listed
from app.data.sets.decathlon import TaskFile, case_of
from app.data.sets.nnunet import is_nnunet
from app.io.volumes import scans_by_case


def with_additions(
    known: TaskFile, masks: Path, scans: Mapping[str, Path]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return what dataset.json holds with a folder of label maps added; names of cases added, and corrected.

    A label map belongs to the case of its name: one of the data set, whose label map it replaces, or else
    one of `scans`, which becomes a new case.

    Raises:
        InputError: a label map of no case, or none at all; or an nnU-Net folder, which lists no case.
    """
    if is_nnunet(known.facts):
        raise InputError(
            f"check.add: {known.path}: got a folder of nnU-Net, whose files are its list of cases; copy the "
            "scans into imagesTr and the label maps into labelsTr"
        )
    if not masks.is_dir():
        raise InputError(f"check.add: {masks}: no such folder, wanted corrected label maps")
    found = {name: path for name, path in scans_by_case(masks).items() if path.is_file()}
    entries = {case_of(known, entry).id: dict(entry) for entry in known.facts["training"]}
    unknown = [name for name in found if name not in entries and name not in scans]
    if unknown or not found:
        raise InputError(
            f"check.add: {masks}: got {len(found)} label maps, without a scan of that name: "
            f"{listed(unknown) or 'none'}; name each like its scan; check.scans gives those of new cases"
        )
    for name, mask in found.items():
        if name in entries:
            entries[name]["label"] = _place(known, mask)
        else:
            entries[name] = {
                "id": name,
                "image": _place(known, scans[name]),
                "label": _place(known, mask),
            }
    before = {case_of(known, entry).id for entry in known.facts["training"]}
    facts = {**known.facts, "numTraining": len(entries), "training": list(entries.values())}
    return facts, [name for name in found if name not in before], [name for name in found if name in before]


def next_file(path: Path) -> Path:
    """Return dataset_2.json, dataset_3.json, ... beside dataset.json, the first that is not there."""
    stem = path.stem.rpartition("_")[0] if path.stem.rpartition("_")[2].isdigit() else path.stem
    names = (path.with_name(f"{stem}_{number}{path.suffix}") for number in itertools.count(2))
    return next(name for name in names if not name.exists())


def _place(known: TaskFile, path: Path) -> str:
    """A path below the data set from its folder, so that both can move together; any other from the root."""
    own, folder = path.resolve(), known.folder.resolve()
    return f"./{own.relative_to(folder).as_posix()}" if own.is_relative_to(folder) else str(own)
