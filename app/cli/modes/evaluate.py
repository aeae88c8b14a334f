"""The mode evaluate: compare predicted label maps with references of the same names."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from app.cli.config.settings import read_settings, required, section_values
from app.cli.config.strata import read_strata
from app.cli.config.task import TaskSettings, open_task
from app.core import run_folder
from app.core.digest import digest_of, digest_of_file
from app.core.errors import InputError
from app.core.files import write_json
from app.core.progress import progress_bar
from app.core.read_ahead import read_ahead
from app.core.task import Case, Task
from app.core.types import Labels
from app.io.dicom_labels import holds_labels
from app.io.nifti import read_at
from app.io.references import find_label_map, grid_of, read_reference_map
from app.io.scan_paths import scan_files, scans_by_case
from app.io.suffixes import SUFFIXES
from app.io.volumes import LabelMap, check_same_grid, read_label_map, reorient_like
from app.metrics.calibration import CaseSums, sample_voxels, sums_of
from app.metrics.lesions import DETECTED_IOU
from app.metrics.results import write_scores
from app.metrics.score import Score
from app.metrics.scores import score_case
from app.report.wording import dice_text
from app.train.machine.environment import environment

log = logging.getLogger(__name__)

_STRUCTURES = ".rtstruct"  # follows the case in the name of a structure set that mode=predict writes
_ROUNDED = 0.05  # of a sum of probabilities that were stored with eight bits
Pairs = Mapping[str, tuple[Path | None, Path]]
"""Prediction and reference by case; a missing prediction is None."""


@dataclass(frozen=True)
class EvaluateSettings:
    """The folders to compare, the folder for the scores, and the rule for missing predictions."""

    predictions: str | None
    labels: str | None
    output: str | None
    probabilities: str | None
    missing: str
    """Whether a reference without a prediction counts as a `miss` or is `left_out`."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.missing not in ("miss", "left_out"):
            raise InputError(f"evaluate.missing: got {self.missing!r}, wanted miss or left_out")


def run(cfg: DictConfig) -> Path:
    """Write cases.csv, statistics.json, summary.json and environment.json; label names are the task's."""
    settings = read_settings(EvaluateSettings, section_values(cfg.evaluate), "evaluate")
    predictions, labels, output = (
        Path(required(cfg.evaluate, key, "evaluate", wanted="folder"))
        for key in ("predictions", "labels", "output")
    )
    task, facts = open_task(cfg)
    called = {case.own_id: case.id for case in (*task.cases, *task.test)}
    pairs = _pairs(predictions, labels, called)
    missing = [case for case, (predicted, _) in pairs.items() if predicted is None]
    if missing:
        log.warning("evaluate.predictions: got none for %s: %s", _how(settings), ", ".join(missing))
    if settings.missing == "left_out":
        pairs = {case: pair for case, pair in pairs.items() if case not in missing}
    columns = read_strata(task, facts, pairs)
    scores, sums = _scores(pairs, task, facts, settings.probabilities)
    summary = {
        **{"task": task.name, "cases": len(pairs), "missing_predictions": missing},
        **write_scores(output, scores, columns, sums),
    }
    write_json(output / run_folder.SUMMARY, summary)
    write_json(output / run_folder.ENVIRONMENT, _environment(pairs, facts))
    log.info("mean Dice %s over %d cases -> %s", dice_text(summary["mean_dice"]), len(pairs), output)
    return output


def _how(settings: EvaluateSettings) -> str:
    return (
        "these references, whose labels count as missed" if settings.missing == "miss" else "these, left out"
    )


def _scores(
    pairs: Pairs, task: Task, facts: TaskSettings, probabilities: str | None
) -> tuple[list[Score], dict[str, CaseSums]]:
    rule, known = facts.group_rule(task), {case.id: case for case in (*task.cases, *task.test)}
    scores: list[Score] = []
    sums: dict[str, CaseSums] = {}

    def read(case: str) -> tuple[Labels, LabelMap]:
        return _read(*pairs[case], task, known.get(case))

    with progress_bar("Evaluating", len(pairs)) as advance:
        for case, maps in read_ahead(list(pairs), read):
            ours, theirs = maps()
            group = None if rule is None else rule.key(case)
            targets = task.targets_in(known[case]) if case in known else task.targets
            if probabilities is not None and pairs[case][0] is not None and targets == task.targets:
                place = Path(probabilities) / f"{case}.nii.gz"
                sums[case] = _sums(place, theirs, pairs[case][1], task)
            scores += score_case(
                case,
                ours,
                theirs.voxels,
                spacing=theirs.spacing,
                voxel_mm3=theirs.voxel_mm3,
                targets=targets,
                nsd_tolerance_mm=facts.nsd_tolerance_mm,
                ignore=task.ignore,
                group=group,
                tubes=task.tubes,
            )
            advance(note=case)
    return scores, sums


def _sums(path: Path, reference: LabelMap, reference_path: Path, task: Task) -> CaseSums:
    """Return the sums that the calibration of a case is computed from.

    Raises:
        InputError: the file at `path` is missing, is on another grid than the reference, or has not one
            probability per class.
    """
    if not path.is_file():
        raise InputError(
            f"evaluate.probabilities: {path}: no such file; predict.probabilities=true writes it"
        )
    grid = grid_of(path, task.reading)
    reference = reorient_like(reference, grid)
    check_same_grid(grid, reference, path, reference_path)
    voxels = sample_voxels(reference.voxels, reference.spacing, task.ignore)
    found = read_at(path, voxels)
    if found.shape[1] != len(task.segmented):
        raise InputError(
            f"{path}: got {found.shape[1]} classes, wanted {len(task.segmented)}, those of the task"
        )
    whole = np.abs(found.sum(axis=1) - 1) <= _ROUNDED
    if not (whole & (found >= 0).all(axis=1)).all():  # NaN is neither
        raise InputError(
            f"{path}: got values from {found.min():g} to {found.max():g}, wanted probabilities with a sum "
            "of 1 in each voxel"
        )
    return sums_of(found, reference.voxels[tuple(voxels.T)])


def _read(predicted: Path | None, reference: Path, task: Task, known: Case | None) -> tuple[Labels, LabelMap]:
    """Return the classes of both label maps on one grid; a missing prediction is background.

    DICOM labels are drawn on the grid of the other label map, or of the data set's scan if that has no grid
    either.
    """
    ours: LabelMap | None = None
    if predicted is not None and not holds_labels(predicted):
        ours = read_label_map(predicted, task.label_values)
    grid = _scan_grid(reference, known, task) if ours is None and holds_labels(reference) else ours
    files = task.file_labels if known is None else known.file_labels
    theirs = read_reference_map(reference, task.labels, task.label_values, grid, files)
    if predicted is None:
        return np.zeros_like(theirs.voxels), theirs
    if ours is None:
        ours = read_reference_map(predicted, task.labels, task.label_values, theirs)
    theirs = reorient_like(theirs, ours)
    check_same_grid(ours, theirs, predicted, reference)
    return ours.voxels, theirs


def _scan_grid(reference: Path, known: Case | None, task: Task) -> LabelMap:
    """Return an empty label map on the grid of a case's scan."""
    if known is None:
        raise InputError(
            f"{reference}: got DICOM labels without a label map of another format or a scan that has their "
            "grid; set task.folder to a data set with this case"
        )
    return grid_of(known.image, task.reading)


def _environment(pairs: Pairs, facts: TaskSettings) -> dict[str, Any]:
    """Return versions, limits and digests of all files, so that the figures can be reproduced."""
    digests = {
        case: [None if path is None else _digest(path) for path in pair] for case, pair in pairs.items()
    }
    return {
        **environment(digest_of(digests)),
        "nsd_tolerance_mm": facts.nsd_tolerance_mm,
        "lesion_detected_iou": DETECTED_IOU,
        "sha256_of_prediction_and_reference": digests,
    }


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the digests of the files of a pair or series."""
    files = scan_files(path)
    return digest_of_file(path) if files == [path] else digest_of([digest_of_file(file) for file in files])


def _pairs(predictions: Path, labels: Path, called: Mapping[str, str]) -> dict[str, tuple[Path | None, Path]]:
    """Return predictions and references by case; every prediction needs a reference.

    `called` maps the names of files to the names of their cases.
    """
    found = {
        name: _label_maps(folder, name, called)
        for name, folder in (("predictions", predictions), ("labels", labels))
    }
    missing = sorted(set(found["predictions"]) - set(found["labels"]))
    if missing:
        raise InputError(f"evaluate.labels: {labels}: got no reference for {', '.join(missing[:5])}")
    return {case: (found["predictions"].get(case), path) for case, path in found["labels"].items()}


def _label_maps(folder: Path, name: str, called: Mapping[str, str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"evaluate.{name}: {folder}: no such folder")
    found: dict[str, Path] = {}
    for named, path in scans_by_case(folder).items():
        own, label_map = named.removesuffix(_STRUCTURES), find_label_map(path)
        case = called.get(own, own)
        if label_map is not None and case in found:
            raise InputError(f"{folder}: got {found[case].name} and {path.name}, wanted one of {case}")
        if label_map is not None:
            found[case] = label_map
    if not found:
        raise InputError(
            f"evaluate.{name}: {folder}: got no label map, wanted files {', '.join(SUFFIXES)} or DICOM"
        )
    return found
