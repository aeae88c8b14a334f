"""The mode train: from a data set to a trained network with its predictions, scores and report."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from app.cli.config.folders import is_multirun
from app.cli.config.training import open_configured
from app.cli.modes.next_steps import next_steps
from app.core import run_folder
from app.report.page.page import write_report
from app.report.wording import dice_text
from app.search.inherit import inherit_search
from app.search.search import searched_sites
from app.track.tracker import Tracker
from app.train.advice import naming_the_trained
from app.train.fine_tuning import Origin
from app.train.machine.torchrun import open_processes
from app.train.run import score_held_out, take_origin, train_network
from app.train.state import TrainingState
from app.train.training import Training

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Prepare, train, evaluate and report, or resume where `train.resume` stopped; return the run folder."""
    started = time.monotonic()
    with open_processes() as processes, open_configured(cfg, processes=processes) as (training, tracker):
        state = train_network(training, initialise=_begin)
        finish(training, state, tracker)
    if training.plan.minutes is not None and processes.leads and not training.resumed:
        log.info(
            "%.1f min in total, %.1f min were planned",
            (time.monotonic() - started) / 60,
            training.plan.minutes,
        )
    if processes.leads:
        _log_next_steps(training, generated=cfg.task.phantom is not None)
    return training.folder


def finish(training: Training, state: TrainingState, tracker: Tracker) -> dict[str, Any]:
    """Evaluate with all processes and write the report; return the summary.

    The summary is empty in all processes except the leading one.
    """
    with naming_the_trained(training):
        summary = score_held_out(training, state)
        if not summary:
            return {}
        write_report([training.folder], training.folder / run_folder.REPORT)
    tracker.finish()
    if training.split.validation:
        log.info("mean Dice %s", _format_dice(summary))
    else:
        log.info("no case was held out, so there is no score")
    if "test" in summary:
        log.info(
            "test set of %d cases: mean Dice %s", len(training.split.test), _format_dice(summary["test"])
        )
    return summary


def _log_next_steps(training: Training, *, generated: bool) -> None:
    """Log the report, and what can be done next unless this is a job of a sweep."""
    report = training.folder / run_folder.REPORT
    if is_multirun():
        log.info("report: %s", report)
        return
    scan = training.split.validation[0].image if generated and training.split.validation else None
    log.info("%s", next_steps(training.folder, report, scan))


def _format_dice(figures: Mapping[str, Any]) -> str:
    """Return the mean Dice and the Dice of each label as text."""
    by_label = ", ".join(f"{label} {dice_text(value)}" for label, value in figures["dice"].items())
    return f"{dice_text(figures['mean_dice'])} ({by_label})"


def _begin(training: Training, network: nn.Module, origin: Origin) -> None:
    """Fill a network with the weights that a search selected, or with all that fit of another network."""
    if searched_sites(origin.checkpoint.network):
        inherit_search(network, training.network, origin.checkpoint)
    else:
        take_origin(training, network, origin)
