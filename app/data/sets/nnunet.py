"""Reading a raw data folder of nnU-Net (v2) as a Task, without converting it.

The format is that of Isensee et al., Nature Methods 2021. `dataset.json` has channel_names, labels,
file_ending and, for regions, regions_class_order. `imagesTr` has one file per case and channel, named
<case>_0000, <case>_0001, ...; `labelsTr` has one file per case.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.errors import InputError
from app.core.listed import listed
from app.core.reading import BY_SUFFIX, Reading
from app.core.task import Case, Task
from app.io.label_values import LARGEST_VALUE
from app.io.several import scans_of
from app.io.suffixes import SUFFIXES

_IGNORE = "ignore"  # nnU-Net's name for the label that is used neither in training nor in scores


def is_nnunet(facts: Mapping[str, Any]) -> bool:
    """Return whether dataset.json is in the format of nnU-Net, which does not list cases."""
    return "channel_names" in facts and "training" not in facts


def read_nnunet(folder: Path, facts: Mapping[str, Any], path: Path) -> Task:
    """Read the task of a folder; `facts` is the content of its dataset.json at `path`.

    Raises:
        InputError: a key is missing or wrong, a file is missing, or the file format is not supported.
    """
    ending = str(facts.get("file_ending", ""))
    if ending.lower() not in SUFFIXES:
        raise InputError(f"{path}: file_ending: got {ending!r}, wanted one of {', '.join(SUFFIXES)}")
    if "dataset" in facts:
        raise InputError(f"{path}: dataset: got files listed one by one, wanted imagesTr and labelsTr alone")
    channels = numbered_names(facts, "channel_names", path)
    names, values, regions, ignore = _labels(facts, path)
    return Task(
        name=folder.resolve().name,
        modalities=channels,
        labels=names,
        cases=_cases(folder, ending, len(channels)),
        regions=regions,
        ignore=ignore,
        folders=(folder,),
        reading=Reading(BY_SUFFIX, modalities=channels),
        values=() if values == tuple(range(len(values))) else values,
    )


def numbered_names(facts: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    """Return the names of 0, 1, ... that a dataset.json at `path` has under `key`.

    Raises:
        InputError: there is none, or the numbers are others.
    """
    names = facts.get(key)
    wanted = [str(number) for number in range(len(names))] if isinstance(names, dict) else []
    if not isinstance(names, dict) or not names or sorted(names, key=lambda n: (len(n), n)) != wanted:
        raise InputError(f"{path}: {key}: got {names!r}, wanted names of 0, 1, ...")
    return tuple(str(names[number]) for number in wanted)


def _labels(
    facts: Mapping[str, Any], path: Path
) -> tuple[tuple[str, ...], tuple[int, ...], dict[str, tuple[int, ...]], int | None]:
    """Return names and rising values of labels, the classes of each region, and the ignored class."""
    named = facts.get("labels")
    if not isinstance(named, dict) or named.get("background") != 0:
        raise InputError(f"{path}: labels: got {named!r}, wanted names with values, background 0 first")
    made_of = {str(name): _values(name, value, path) for name, value in named.items()}
    ignored = made_of.pop(_IGNORE, ())
    single = {members[0]: name for name, members in made_of.items() if len(members) == 1}
    of_regions = any(len(members) > 1 for members in made_of.values())
    foreground = sorted({value for members in made_of.values() for value in members} - {0})
    values = (0, *foreground, *ignored)
    if list(values) != sorted(set(values)) or values[-1] > LARGEST_VALUE or len(ignored) > 1:
        raise InputError(f"{path}: labels: ignore: got {list(ignored)}, wanted one value, the highest")
    if not of_regions and len(single) < len(made_of):
        raise InputError(f"{path}: labels: got {named!r}, wanted each value once")
    if not of_regions:
        names = tuple(single[value] for value in (0, *foreground))
        regions = {}
    else:
        names = ("background", *(f"value {value}" for value in foreground))
        regions = {
            name: tuple(values.index(value) for value in members)
            for name, members in made_of.items()
            if name != "background"
        }
        _refuse_other_order(facts, foreground, path)
    return (*names, *([_IGNORE] if ignored else [])), values, regions, len(names) if ignored else None


def _values(name: object, value: object, path: Path) -> tuple[int, ...]:
    members = value if isinstance(value, list) else [value]
    if not members or not all(isinstance(one, int) and one >= 0 for one in members):
        raise InputError(f"{path}: labels: {name}: got {value!r}, wanted whole numbers from 0")
    return tuple(members)


def _refuse_other_order(facts: Mapping[str, Any], foreground: list[int], path: Path) -> None:
    """Raise InputError unless regions_class_order has each foreground value once.

    nnU-Net writes one value per region into predictions; this application writes the values of the files.
    """
    order = facts.get("regions_class_order")
    if (
        not isinstance(order, list)
        or not all(isinstance(value, int) for value in order)
        or sorted(order) != foreground
    ):
        raise InputError(
            f"{path}: regions_class_order: got {order!r}, wanted each of the values {foreground} once"
        )


def _cases(folder: Path, ending: str, channels: int) -> tuple[Case, ...]:
    images, labels = folder / "imagesTr", folder / "labelsTr"
    for inside in (images, labels):
        if not inside.is_dir():
            raise InputError(f"{inside}: no such folder, wanted that of nnU-Net's training cases")
    files = [path for path in images.iterdir() if path.name.endswith(ending) and path.name[0] != "."]
    scans = scans_of(files)
    if not scans:
        raise InputError(f"{images}: got no file <case>_0000{ending}, wanted one per case and channel")
    wanted = [f"_{number:04d}{ending}" for number in range(channels)]
    short = [
        scan.name
        for scan, parts in scans.items()
        if [p.name.removeprefix(scan.name) for p in parts] != wanted
    ]
    if short:
        raise InputError(
            f"{images}: {listed(short)}: wanted {channels} files per case, {wanted[0]} to {wanted[-1]}"
        )
    masks = {scan: labels / f"{scan.name}{ending}" for scan in scans}
    alone = [mask.name for mask in masks.values() if not mask.is_file()]
    if alone:
        raise InputError(f"{labels}: no such file: {listed(alone)}, wanted one per case of imagesTr")
    return tuple(Case(scan.name, scan, mask) for scan, mask in masks.items())
