"""The cases of a run by its record, split.json, with the files that it read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.core import run_folder
from app.core.errors import InputError
from app.core.file_labels import recorded_labels
from app.core.files import read_json, read_yaml
from app.core.hidden import hide
from app.core.moved import HOW, UNMOVED, Moved
from app.core.task import Case
from app.data.sets.decathlon import case_of, read_task_file
from app.io.privacy import known_as
from app.io.scan_paths import scan_exists


def recorded_cases(run: Path, part: str, moved: Moved = UNMOVED) -> list[Case]:
    """Return the cases that a run trained on (`train`) or held out (`validation`).

    Their files are those that the run read, or those that `moved` gives instead.

    Raises:
        InputError: there is no record of the cases, or their files no longer exist.
    """
    return _recorded(run, lambda split: split[part], moved)


def recorded_case(run: Path, name: str, moved: Moved = UNMOVED) -> Case:
    """Return one case of a run, as `recorded_cases` does.

    Raises:
        InputError: there is no record of the case, or its files no longer exist.
    """
    return _recorded(run, lambda _: [name], moved)[0]


def _recorded(run: Path, named: Callable[[Mapping[str, Any]], Iterable[str]], moved: Moved) -> list[Case]:
    path = run / run_folder.SPLIT
    split = read_json(path)
    config = run / run_folder.CONFIG
    try:
        settings = read_yaml(config) if config.is_file() else None
        places = moved.files(split, settings)
        files = {case: places[case] for case in named(split)}
        folders = [now for _, now in moved.data_sets(split, settings)]
        cases = [
            replace(_case(case, entry, folders), file_labels=recorded_labels(split, case))
            for case, entry in files.items()
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a split ({error!r})") from None
    gone = [case.image for case in cases if not scan_exists(case.image)]
    if gone:
        raise InputError(
            f"{path}: {gone[0]}: no such file; {HOW}, or run from the folder the run was started in"
        )
    return cases


def _case(name: str, entry: Mapping[str, Any], folders: Sequence[Path]) -> Case:
    """Return a case by its recorded paths.

    If the paths would identify the patient, the record has the case's position in the data set's list
    instead.
    """
    if "position" not in entry or not folders:
        return Case(name, Path(entry["image"]), Path(entry["label"]))
    file = read_task_file(folders[entry.get("part", 0)], entry["dataset"])
    listed = case_of(file, file.facts["training"][entry["position"]])
    alias = known_as({listed.image: listed.id}, anonymous=True, beside={listed.image: listed.label})
    hide(alias[listed.image].words)
    return replace(listed, id=name)
