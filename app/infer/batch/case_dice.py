"""The Dice of a segmenter on labelled cases, to compare engines or settings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from app.core import run_folder
from app.core.errors import InputError
from app.core.file_labels import recorded_labels
from app.core.files import read_json, read_yaml
from app.core.hidden import hide
from app.core.moved import HOW, UNMOVED, Moved
from app.core.progress import progress_bar
from app.core.task import Case
from app.data.sets.decathlon import case_of, read_task_file
from app.infer.scan.segmenter import Segmenter
from app.io.privacy import known_as
from app.io.references import read_reference_map
from app.io.scan_paths import scan_exists
from app.io.volumes import read_volume
from app.metrics.overlap import dice_by_target

CaseDice = dict[str, dict[str, float | None]]
"""Dice by case id, then by label name."""


def recorded_cases(run: Path, part: str, moved: Moved = UNMOVED) -> list[Case]:
    """Return the cases that a run trained on (`train`) or held out (`validation`).

    Their files are those that the run read, or those that `moved` gives instead.

    Raises:
        InputError: there is no record of the cases, or their files no longer exist.
    """
    path = run / run_folder.SPLIT
    split = read_json(path)
    config = run / run_folder.CONFIG
    try:
        settings = read_yaml(config) if config.is_file() else None
        places = moved.files(split, settings)
        files = {case: places[case] for case in split[part]}
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


def dice_of_cases(segmenter: Segmenter, cases: Iterable[Case]) -> CaseDice:
    """Return the Dice of every foreground label of every case, in the scan's own geometry."""
    listed = list(cases)
    targets = {name: (value,) for value, name in enumerate(segmenter.labels) if value}
    found: CaseDice = {}
    beyond = len(segmenter.labels)
    values = segmenter.values or range(beyond + 1)
    with progress_bar("Scoring", len(listed)) as advance:
        for case in listed:
            assert case.label is not None
            volume = read_volume(case.image, segmenter.reading)
            reference = read_reference_map(case.label, segmenter.labels, values, volume, case.file_labels)
            found[case.id] = dice_by_target(
                segmenter.classes(volume), reference.voxels, targets, ignore=beyond
            )
            advance(note=case.id)
    return found


def mean_over_labels(found: CaseDice) -> float:
    """Return the mean over labels of each label's mean over cases.

    Raises:
        InputError: the mean is undefined, because neither references nor predictions have any label.
    """
    means = []
    for name in next(iter(found.values()), ()):
        known = [value for case in found.values() if (value := case[name]) is not None]
        if known:
            means.append(fmean(known))
    if not means:
        raise InputError(f"Dice is undefined: none of {len(found)} cases has a label, predicted or not")
    return fmean(means)
