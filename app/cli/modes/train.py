"""mode=train: from a data set to a run folder with a trained network, its masks, figures and report."""

import logging
import resource
from typing import Any

from omegaconf import DictConfig

from app.cli.config.build import build_loss, build_network, build_sliding
from app.cli.config.settings import plain
from app.cli.config.speed_record import yardstick_facts
from app.cli.config.training import Training, open_training, train_network
from app.core import run_folder
from app.core.files import write_json
from app.infer.scan.segmenter import Segmenter
from app.metrics.scores import Score, standard_metrics, summarise_scores, write_cases
from app.report.page.page import write_report
from app.train.final_scores import evaluate_held_out
from app.train.state import TrainingState
from app.train.torchrun import open_processes

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Prepare, train, evaluate, report; or go on where `train.resume` stopped."""
    with open_processes() as processes:
        this = open_training(cfg, build_network, processes)
        loss = build_loss(this.cfg, this.task)
        state = train_network(this, lambda network: loss)
        finish(this, state)


def finish(this: Training, state: TrainingState) -> dict[str, Any]:
    """Evaluate, all processes together, and report; the summary, empty but for the leading process."""
    scores = _evaluate(this, state)
    if not this.processes.leads:
        return {}
    write_cases(this.folder / run_folder.CASES, scores)
    summary = {**training_facts(this, state), **summarise_scores(scores), "peak_rss_mb": peak_rss_mb()}
    write_json(this.folder / run_folder.SUMMARY, summary)
    write_report([this.folder], this.folder / run_folder.REPORT)
    this.tracker.finish()
    dice = ", ".join(f"{label} {value or 0:.4f}" for label, value in summary["dice"].items())
    log.info("mean Dice %.4f (%s)", summary["mean_dice"] or 0, dice)
    log.info("report: %s", this.folder / run_folder.REPORT)
    return summary


def training_facts(this: Training, state: TrainingState) -> dict[str, Any]:
    """What was trained, on what, at what cost, for summary.json."""
    cost = this.network.cost(this.plan.patch)
    return {
        **plain(this.cfg.choices),
        "fold": this.cfg.fold,
        "seed": this.cfg.seed,
        "params": cost.params,
        "macs_per_patch": cost.macs,
        "patch": list(this.plan.patch),
        "steps": state.step,
        "processes": this.processes.count,
        "precision": str(state.precision).removeprefix("torch."),
        "samples": state.step * this.plan.batch * this.settings.accumulate,
        "train_seconds": round(state.seconds, 1),
        "validation_seconds": round(state.validation_seconds, 1),
        **yardstick_facts(this.folder, state.seconds),
    }


def peak_rss_mb() -> int:
    """The most memory this process has held at once, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _evaluate(this: Training, state: TrainingState) -> list[Score]:
    """Scores of the last weights: the best ones were chosen on the very cases that judge."""
    segmenter = Segmenter.from_checkpoint(
        this.checkpoint(state), sliding=build_sliding(this.cfg), device=this.device
    )
    metrics = standard_metrics(this.facts.nsd_tolerance_mm)
    cases, processes = this.split.validation, this.processes
    return evaluate_held_out(segmenter, cases, this.task, this.folder, metrics, processes=processes)
