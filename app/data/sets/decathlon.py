"""Reading a data set in the layout of the Medical Segmentation Decathlon, or of nnU-Net, as a Task.

Only files that dataset.json lists are read; hidden and AppleDouble files next to the scans are ignored.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from app.core.errors import InputError
from app.core.files import read_json
from app.core.task import Case, Task
from app.data.sets.dataset_json import DATASET_JSON
from app.data.sets.nnunet import is_nnunet, numbered_names, read_nnunet
from app.io.label_values import LARGEST_VALUE, MOST_CLASSES
from app.io.scan_paths import case_name, scan_exists


@dataclass(frozen=True)
class TaskFile:
    """The content of a dataset.json, its path and its folder."""

    folder: Path
    path: Path
    facts: Mapping[str, Any]


def read_task(folder: Path, name: str = DATASET_JSON) -> Task:
    """Read dataset.json, or another file of its kind in the folder, and return the task with its cases.

    Raises:
        InputError: dataset.json or a listed file is missing, or labels are not whole numbers up to 65535.
    """
    return task_of(read_task_file(folder, name))


def read_task_file(folder: Path, name: str = DATASET_JSON) -> TaskFile:
    """Read dataset.json without checking its content.

    Raises:
        InputError: the folder or the file is missing, or the file does not hold a JSON object.
    """
    path = folder / name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {_instead(folder)}")
    facts = read_json(path)
    if not isinstance(facts, dict):
        raise InputError(f"{path}: got {type(facts).__name__}, wanted an object")
    return TaskFile(folder, path, facts)


def _instead(folder: Path) -> str:
    """Return what to set instead of a missing folder, and a data set of a similar name beside it."""
    beside = [path.parent.name for path in folder.parent.glob(f"*/{DATASET_JSON}")]
    alike = get_close_matches(folder.name, beside, n=1)
    meant = f"; did you mean {folder.parent / alike[0]}?" if alike else ""
    return f"set paths.data, task.folder=<folder with a dataset.json> or task.download=true{meant}"


def task_of(file: TaskFile) -> Task:
    """Return the task that a dataset.json describes.

    Raises:
        InputError: raised as in `read_task`.
    """
    folder, path, facts = file.folder, file.path, file.facts
    if is_nnunet(facts):
        return read_nnunet(folder, facts, path)
    values, labels = _labels(facts, path)
    cases = tuple(case_of(file, entry) for entry in _entry(facts, "training", list, path))
    if not cases:
        raise InputError(f"{path}: training: got no case, wanted at least one")
    _refuse_duplicates(cases, path)
    _refuse_missing(cases, path)
    try:
        return Task(
            name=folder.resolve().name,
            modalities=numbered_names(facts, "modality", path),
            labels=labels,
            cases=cases,
            folders=(folder,),
            values=values,
        )
    except InputError as error:
        raise InputError(error if str(path) in str(error) else f"{path}: {error}") from None


def case_of(file: TaskFile, entry: Any) -> Case:
    """Return the case of an entry of `training`, named by its `id` or else by its image.

    Raises:
        InputError: the entry does not describe a case.
    """
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "label")):
        raise InputError(f"{file.path}: training: got {entry!r}, wanted {{image: path, label: path}}")
    image, label = (_below(file, key, entry[key]) for key in ("image", "label"))
    name = entry.get("id", None) or case_name(image)
    if not isinstance(name, str) or "/" in name:
        raise InputError(f"{file.path}: training: id: got {name!r}, wanted a name")
    return Case(name, image, label, _annotated(entry, _labels(file.facts, file.path)[1], file.path))


def _below(file: TaskFile, key: str, listed: str) -> Path:
    """Return the path that an entry lists, which may lie anywhere but cannot contain the whole data set."""
    path = file.folder / listed
    whole, here = (os.path.normpath(one.absolute()) for one in (file.folder, path))
    if Path(whole).is_relative_to(here):
        raise InputError(f"{file.path}: training: {key}: got {listed!r}, which holds the whole data set")
    try:
        path.exists()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{file.path}: training: {key}: {error.strerror}: {listed[:80]!r}") from None
    return path


def _entry(facts: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    if not isinstance(facts.get(key), kind):
        raise InputError(f"{path}: {key}: got {facts.get(key)!r}, wanted a {kind.__name__}")
    return facts[key]


def _labels(facts: Mapping[str, Any], path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the label values, empty if they are 0, 1, 2, ..., and their names."""
    names = _entry(facts, "labels", dict, path)
    known = {int(text): str(name) for text, name in names.items() if text.isdecimal()}
    values = tuple(sorted(known))
    if len(known) < len(names) or not values or values[0] != 0 or values[-1] > LARGEST_VALUE:
        raise InputError(
            f"{path}: labels: got the numbers {list(names)[:9]}, wanted whole numbers from 0 (background) to "
            f"{LARGEST_VALUE}, each with a name"
        )
    if len(values) > MOST_CLASSES:
        raise InputError(f"{path}: labels: got {len(values)}, wanted at most {MOST_CLASSES}")
    plain = values == tuple(range(len(values)))
    return () if plain else values, tuple(known[value] for value in values)


def _annotated(entry: dict[str, Any], labels: tuple[str, ...], path: Path) -> tuple[int, ...] | None:
    """Return the classes that a case's label map annotates by its entry; None if the entry names none."""
    names = entry.get("annotated")
    if names is None:
        return None
    if not isinstance(names, list) or not names or any(name not in labels[1:] for name in names):
        raise InputError(
            f"{path}: {entry['label']}: annotated: got {names!r}, wanted names among {', '.join(labels[1:])}"
        )
    return tuple(value for value, name in enumerate(labels) if name in names)


def _refuse_missing(cases: tuple[Case, ...], path: Path) -> None:
    files = [(case.id, file) for case in cases for file in (case.image, case.label) if file]
    missing = [(case, file) for case, file in files if not scan_exists(file)]
    if missing:
        case, file = missing[0]
        more = f", and {len(missing) - 1} more listed files are missing" if len(missing) > 1 else ""
        hint = "; write / in paths, not \\" if "\\" in file.name else ""
        raise InputError(f"{path}: case {case}: {file}: no such file{more}{hint}")


def _refuse_duplicates(cases: tuple[Case, ...], path: Path) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise InputError(f"{path}: case {case.id} is listed twice")
        seen.add(case.id)
