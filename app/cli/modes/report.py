"""The mode report: one page about any number of runs."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from app.cli.config.run_config import data_moved
from app.cli.config.settings import required
from app.core import run_folder
from app.core.sweep import read_sweep
from app.report.page.page import write_report

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Write the page into the folder of the runs, or to `report.output`."""
    runs = Path(required(cfg.report, "runs", "report", wanted="run folder or folder of runs"))
    output = Path(cfg.report.output) if cfg.report.output else runs / run_folder.REPORT
    words = {name: cfg.report[name] for name in ("intended_use", "limits")}
    write_report([runs], output, sweep=read_sweep(runs), words=words, moved=data_moved())
    log.info("report: %s", output)
    return output.parent
