"""mode=evaluate: predicted label maps against references of the same names."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from app.cli.config.settings import required
from app.cli.config.task import open_task
from app.core import run_folder
from app.core.errors import InputError
from app.core.files import write_json
from app.core.progress import progress_bar
from app.core.task import Task
from app.io.volumes import SUFFIXES, check_same_grid, read_label_map, scans_by_case, turn_like
from app.metrics.metric import Metric
from app.metrics.scores import Score, score_case, standard_metrics, summarise_scores, write_cases

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Write cases.csv and summary.json; label names come from the task."""
    keys = ("predictions", "labels", "output")
    predictions, labels, output = (Path(required(cfg.evaluate, key, "evaluate")) for key in keys)
    task, facts = open_task(cfg)
    pairs = _pairs(predictions, labels)
    metrics = standard_metrics(facts.nsd_tolerance_mm)
    scores: list[Score] = []
    with progress_bar("Evaluating", len(pairs)) as advance:
        for case, (predicted, reference) in pairs.items():
            scores += _score(case, predicted, reference, task, metrics)
            advance(note=case)
    summary = {"task": task.name, "cases": len(pairs), **summarise_scores(scores)}
    write_cases(output / run_folder.CASES, scores)
    write_json(output / run_folder.SUMMARY, summary)
    log.info("mean Dice %.4f over %d cases -> %s", summary["mean_dice"] or 0, len(pairs), output)
    return output


def _score(
    case: str, predicted: Path, reference: Path, task: Task, metrics: tuple[Metric, ...]
) -> list[Score]:
    ours = read_label_map(predicted, len(task.labels))
    theirs = turn_like(read_label_map(reference, len(task.labels)), ours)
    check_same_grid(ours, theirs, predicted, reference)
    return score_case(
        case,
        ours.voxels,
        theirs.voxels,
        spacing=ours.spacing,
        voxel_mm3=ours.voxel_mm3,
        targets=task.targets,
        ignore=task.ignore,
        metrics=metrics,
    )


def _pairs(predictions: Path, labels: Path) -> dict[str, tuple[Path, Path]]:
    """Predictions and references by case; a reference without prediction is fine, the other way is not."""
    found = {
        name: _label_maps(folder, name) for name, folder in (("predictions", predictions), ("labels", labels))
    }
    missing = sorted(set(found["predictions"]) - set(found["labels"]))
    if missing:
        raise InputError(f"evaluate.labels: {labels}: got no reference for {', '.join(missing[:5])}")
    return {case: (path, found["labels"][case]) for case, path in found["predictions"].items()}


def _label_maps(folder: Path, name: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"evaluate.{name}: {folder}: no such folder")
    found = {case: path for case, path in scans_by_case(folder).items() if path.is_file()}
    if not found:
        raise InputError(f"evaluate.{name}: {folder}: got no label map, wanted files {', '.join(SUFFIXES)}")
    return found
