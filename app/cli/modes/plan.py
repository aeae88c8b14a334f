"""The mode plan: make and explain the plan for a data set, without training."""

import logging
import re
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from app.cli.config.folders import open_other_folder
from app.cli.config.task import configured_folds
from app.cli.config.training import Planned, plan_configured
from app.core import run_folder
from app.core.errors import InputError
from app.core.files import write_json
from app.core.plan import write_plan
from app.data.plan.fingerprint import read_fingerprint
from app.data.sample.label_volumes import case_labels, label_volumes
from app.train.label_presence import warn_of_absent, warn_of_vanishing
from app.train.setup import draw_split

log = logging.getLogger(__name__)


def _warn_of_labels(cfg: DictConfig, planned: Planned) -> None:
    """Warn of labels that the fold's training cases lack, and of labels too small for the grid."""
    task, cache = planned.task, planned.cache
    warn_of_vanishing(task, planned.plan, case_labels(cache))
    try:
        split = draw_split(task, configured_folds(cfg, task, planned.facts), cache)
    except InputError as error:
        log.warning("a training would stop with this error: %s", error)
    else:
        warn_of_absent(task, split, label_volumes(cache))


def run(cfg: DictConfig) -> Path:
    """Write fingerprint.json and plan.yaml into the run folder and print the plan."""
    with open_other_folder(cfg) as folder:
        planned = plan_configured(cfg)
        write_json(folder / run_folder.FINGERPRINT, read_fingerprint(planned.cache).to_dict())
        write_plan(folder / run_folder.PLAN, planned.plan, planned.reasons)
        _warn_of_labels(cfg, planned)
    table = Table("value", "planned", "reason", title=planned.task.name)
    for name, value in planned.plan.to_dict().items():
        table.add_row(name, _rounded(value), planned.reasons[name])
    Console().print(table)
    if cfg.train.steps is not None:
        log.info("train.steps: a training takes %s steps instead of those planned", cfg.train.steps)
    log.info("plan: %s", folder / run_folder.PLAN)
    return folder


def _rounded(value: object) -> str:
    """Return a planned value as text, with its numbers rounded to five digits."""
    return re.sub(r"\d+\.\d{4,}", lambda number: f"{float(number[0]):.5g}", str(value))
