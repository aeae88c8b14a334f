"""The file split.json: training and held-out cases, the paths of their files and their digests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.listed import listed
from app.core.task import Case, Task
from app.data.sample.split import Split

_SIDES = ("train", "validation", "test")


def write_split(run: Path, split: Split, task: Task, digests: Mapping[str, str]) -> None:
    """Write split.json; `digests` maps the id of a case to the digest of the contents of its files."""
    several = len(task.folders) > 1
    files = {
        case.id: {**_place(case), **(_part(case) if several else {}), **_digest(digests, case.id)}
        for case in (*task.cases, *task.test)
    }
    who = {"fold": split.fold, **sides(split), "groups": dict(split.groups)}
    values: dict[str, Any] = {"modalities": list(task.modalities), "labels": list(task.labels)}
    if task.values:
        values["label_values"] = list(task.values)
    if len(task.parts) == 1 and task.file_labels is not None:
        values["file_labels"] = task.file_labels.to_dict()
    if task.regions:
        held = {
            name: [task.label_values[label] for label in members] for name, members in task.regions.items()
        }
        values["regions"] = held
    if task.ignore is not None:
        values["ignored_value"] = task.label_values[task.ignore]
    write_json(run / run_folder.SPLIT, {**who, "folder": _folder(task), "files": files, **values})


def sides(split: Split) -> dict[str, list[str]]:
    """Return the ids of training and held-out cases, as in split.json."""
    found = {"train": split.training, "validation": split.validation, "test": split.test}
    return {side: [case.id for case in cases] for side, cases in found.items() if cases or side != "test"}


def _place(case: Case) -> dict[str, Any]:
    """Return the paths of a case, or its place in the data set's list if the paths name the patient."""
    if case.hidden is not None:
        return {"dataset": case.hidden.dataset, "position": case.hidden.position}
    return {"image": str(case.image), "label": str(case.label)}


def _folder(task: Task) -> str | list[str] | None:
    """Return the folder of the data set, or a list if there are several."""
    folders = [str(folder) for folder in task.folders]
    return folders if len(folders) > 1 else next(iter(folders), None)


def _shown(task: Task) -> str:
    return ", ".join(map(str, task.folders)) or task.name


def _part(case: Case) -> dict[str, Any]:
    """Return the number of a case's folder, and the labels of its file if they are not the task's."""
    labels = {} if case.file_labels is None else {"file_labels": case.file_labels.to_dict()}
    return {"part": case.part, **labels}


def _digest(digests: Mapping[str, str], case: str) -> dict[str, str]:
    """Return the entry for a case's digest; empty for test cases, whose digests are computed when scored."""
    return {"digest": digests[case]} if case in digests else {}


def recorded_split(run: Path, split: Split, task: Task) -> Split:
    """Return the split that a run began with, so that its training cases are not held out when it resumes.

    Raises:
        InputError: the cases differ from those that the run began with.
    """
    before, now = read_json(run / run_folder.SPLIT), sides(split)
    by_id = {case.id: case for case in (*task.cases, *task.test)}
    known, found_ids = ({case for side in _SIDES for case in who.get(side, ())} for who in (before, now))
    if known == found_ids:
        found = (tuple(by_id[case] for case in before.get(side, ())) for side in _SIDES)
        training, validation, test = found
        return Split(split.fold, training, validation, split.groups, test)
    crossed = len(set(before["train"]) & set(now["validation"]))
    raise InputError(
        f"task.folder: {_shown(task)}: its cases are not those of {run / run_folder.SPLIT}: "
        f"{len(found_ids - known)} are new, {len(known - found_ids)} are gone, {crossed} that trained "
        "would be held out; restore the data set, or start a new run"
    )


def refuse_changed(run: Path, task: Task, digests: Mapping[str, str], data_hash: str) -> None:
    """Check that scans and label maps are the same as when the run began.

    Raises:
        InputError: some have changed; the message names their cases.
    """
    files: dict[str, dict[str, Any]] = read_json(run / run_folder.SPLIT)["files"]
    before = {case: entry["digest"] for case, entry in files.items() if "digest" in entry}
    changed = [case for case, digest in before.items() if digests.get(case) != digest]
    path = run / run_folder.ENVIRONMENT
    recorded = read_json(path).get("data_hash", data_hash) if path.is_file() else data_hash
    if changed:
        what = f"scans or label maps of {len(changed)} cases ({listed(changed)})"
    elif recorded != data_hash:  # older versions did not record a digest per case
        what = "labels or modalities of dataset.json" if before else "scans, label maps or dataset.json"
    else:
        return
    raise InputError(
        f"task.folder: {_shown(task)}: {what} have changed since {run} started; "
        "restore them, or start a new run"
    )
