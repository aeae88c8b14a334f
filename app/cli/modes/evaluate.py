"""mode=evaluate: predicted label maps against references of the same names."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from app.cli.config.settings import plain, read_settings
from app.cli.config.task import TaskSettings, open_task
from app.core import run_folder
from app.core.digest import digest_of, digest_of_file
from app.core.errors import InputError
from app.core.files import write_json
from app.core.progress import progress_bar
from app.core.task import Task
from app.core.types import Labels
from app.io.label_values import as_classes
from app.io.nifti import read_at
from app.io.suffixes import SUFFIXES
from app.io.volumes import LabelMap, check_same_grid, read_label_map, scans_by_case, turn_like
from app.metrics.calibration import CaseSums, sample_voxels, sums_of
from app.metrics.lesions import DETECTED_IOU
from app.metrics.results import read_columns, write_scores
from app.metrics.score import Score
from app.metrics.scores import score_case
from app.report.wording import dice_text
from app.train.machine.environment import environment

log = logging.getLogger(__name__)

Pairs = Mapping[str, tuple[Path | None, Path]]
"""Prediction and reference by case; None is a prediction that is missing."""


@dataclass(frozen=True)
class EvaluateSettings:
    """What is compared, and where the scores go."""

    predictions: str | None
    labels: str | None
    output: str | None
    probabilities: str | None
    missing: str
    """A reference without a prediction is a `miss`, or is `left_out`."""

    def __post_init__(self) -> None:
        """Validate values."""
        for key in ("predictions", "labels", "output"):
            if getattr(self, key) is None:
                raise InputError(f"evaluate.{key}: not set; this mode needs evaluate.{key}=<folder>")
        if self.missing not in ("miss", "left_out"):
            raise InputError(f"evaluate.missing: got {self.missing!r}, wanted miss or left_out")


def run(cfg: DictConfig) -> Path:
    """Write cases.csv, statistics.json, summary.json and environment.json; label names are the task's."""
    settings = read_settings(EvaluateSettings, plain(cfg.evaluate), "evaluate")
    output = Path(str(settings.output))
    task, facts = open_task(cfg)
    columns = read_columns(None if facts.strata is None else Path(facts.strata))
    pairs = _pairs(Path(str(settings.predictions)), Path(str(settings.labels)))
    missing = [case for case, (predicted, _) in pairs.items() if predicted is None]
    if missing:
        log.warning("evaluate.predictions: got none for %s: %s", _how(settings), ", ".join(missing))
    if settings.missing == "left_out":
        pairs = {case: pair for case, pair in pairs.items() if case not in missing}
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
    return "these references, which count as misses" if settings.missing == "miss" else "these, left out"


def _scores(
    pairs: Pairs, task: Task, facts: TaskSettings, probabilities: str | None
) -> tuple[list[Score], dict[str, CaseSums]]:
    rule, known = facts.group_rule(task), {case.id: case for case in (*task.cases, *task.test)}
    scores: list[Score] = []
    sums: dict[str, CaseSums] = {}
    with progress_bar("Evaluating", len(pairs)) as advance:
        for case, (predicted, reference) in pairs.items():
            group = None if rule is None else rule.key(case)
            ours, theirs = _read(predicted, reference, task)
            targets = task.targets_in(known[case]) if case in known else task.targets
            if probabilities is not None and predicted is not None and targets == task.targets:
                sums[case] = _sums(Path(probabilities) / f"{case}.nii.gz", theirs, task)
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
            )
            advance(note=case)
    return scores, sums


def _sums(path: Path, reference: LabelMap, task: Task) -> CaseSums:
    """What the probabilities of a case are judged by."""
    if not path.is_file():
        raise InputError(
            f"evaluate.probabilities: {path}: no such file; predict.probabilities=true writes it"
        )
    voxels = sample_voxels(reference.voxels, reference.spacing, task.ignore)
    found = read_at(path, voxels)
    if found.shape[1] != len(task.segmented):
        raise InputError(
            f"{path}: got {found.shape[1]} classes, wanted {len(task.segmented)}, those of the task"
        )
    return sums_of(found, reference.voxels[tuple(voxels.T)])


def _read(predicted: Path | None, reference: Path, task: Task) -> tuple[Labels, LabelMap]:
    """Label values of both on one grid; a missing prediction is background."""
    theirs = _read_reference(reference, task)
    if predicted is None:
        return np.zeros_like(theirs.voxels), theirs
    ours = read_label_map(predicted, task.label_values)
    theirs = turn_like(theirs, ours)
    check_same_grid(ours, theirs, predicted, reference)
    return ours.voxels, theirs


def _read_reference(path: Path, task: Task) -> LabelMap:
    """A reference, whose values are those of the data set's label files."""
    files = task.file_labels
    if files is None:
        return read_label_map(path, task.label_values)
    own = read_label_map(path, files.values)
    return LabelMap(own.affine, as_classes(own.voxels, files.classes))


def _environment(pairs: Pairs, facts: TaskSettings) -> dict[str, Any]:
    """Versions, limits and digests of all files, by which the same figures can be found again."""
    digests = {
        case: [None if path is None else digest_of_file(path) for path in pair]
        for case, pair in pairs.items()
    }
    return {
        **environment(digest_of(digests)),
        "nsd_tolerance_mm": facts.nsd_tolerance_mm,
        "lesion_detected_iou": DETECTED_IOU,
        "sha256_of_prediction_and_reference": digests,
    }


def _pairs(predictions: Path, labels: Path) -> dict[str, tuple[Path | None, Path]]:
    """Predictions and references by case; every prediction needs a reference."""
    found = {
        name: _label_maps(folder, name) for name, folder in (("predictions", predictions), ("labels", labels))
    }
    missing = sorted(set(found["predictions"]) - set(found["labels"]))
    if missing:
        raise InputError(f"evaluate.labels: {labels}: got no reference for {', '.join(missing[:5])}")
    return {case: (found["predictions"].get(case), path) for case, path in found["labels"].items()}


def _label_maps(folder: Path, name: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"evaluate.{name}: {folder}: no such folder")
    found = {case: path for case, path in scans_by_case(folder).items() if path.is_file()}
    if not found:
        raise InputError(f"evaluate.{name}: {folder}: got no label map, wanted files {', '.join(SUFFIXES)}")
    return found
