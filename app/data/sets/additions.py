"""Adding cases or corrected label maps to a data set, in a new dataset.json next to the existing one."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.errors import InputError
from app.core.listed import listed
from app.data.sets.decathlon import TaskFile, case_of
from app.data.sets.nnunet import is_nnunet
from app.io.scan_paths import scans_by_case


def with_additions(
    known: TaskFile, masks: Path, scans: Mapping[str, Path], aliases: Mapping[str, str]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return the content of dataset.json with a folder of label maps added.

    The names of cases added and the names of cases corrected come with it. A label map belongs to the case of
    the same name: a case of the data set, whose label map it replaces, or else a scan of `scans`, which
    becomes a new case. `aliases` has the names of renamed cases in the data set by their new names.

    Raises:
        InputError: there is no label map, a label map has no scan, or the data set is an nnU-Net folder,
            whose dataset.json does not list cases.
    """
    if is_nnunet(known.facts):
        raise InputError(
            f"check.add: {known.path}: got a folder of nnU-Net, whose files are its list of cases; copy the "
            "scans into imagesTr and the label maps into labelsTr"
        )
    if not masks.is_dir():
        raise InputError(f"check.add: {masks}: no such folder, wanted corrected label maps")
    entries = {case_of(known, entry).id: dict(entry) for entry in known.facts["training"]}
    before = set(entries)
    found = _label_maps(masks, aliases)
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
            entries[name] = {"id": name, "image": _place(known, scans[name]), "label": _place(known, mask)}
    facts = {**known.facts, "numTraining": len(entries), "training": list(entries.values())}
    return facts, [name for name in found if name not in before], [name for name in found if name in before]


def _label_maps(masks: Path, aliases: Mapping[str, str]) -> dict[str, Path]:
    """Return the label maps of a folder by the names that their cases have in the data set."""
    found: dict[str, Path] = {}
    for name, path in scans_by_case(masks).items():
        case = aliases.get(name, name)
        if case in found:
            raise InputError(
                f"check.add: {masks}: got {found[case].name} and {path.name}, which are one case"
            )
        if path.is_file():
            found[case] = path
    return found


def next_file(path: Path) -> Path:
    """Return the first free name among dataset_2.json, dataset_3.json, ... next to dataset.json."""
    stem = path.stem.rpartition("_")[0] if path.stem.rpartition("_")[2].isdigit() else path.stem
    names = (path.with_name(f"{stem}_{number}{path.suffix}") for number in itertools.count(2))
    return next(name for name in names if not name.exists())


def _place(known: TaskFile, path: Path) -> str:
    """Return a path as dataset.json lists it.

    If it is inside the data set's folder, it is relative to that, so that the folder can be moved; else it is
    absolute.
    """
    own, folder = path.resolve(), known.folder.resolve()
    return f"./{own.relative_to(folder).as_posix()}" if own.is_relative_to(folder) else str(own)
