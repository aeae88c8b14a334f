"""The mode time: milliseconds of the networks of many runs, measured together."""

import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from app.cli.config.settings import required
from app.cli.sweep.timings import time_runs
from app.core.sweep import TIMINGS

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Time every trained network below `time.runs`; write timings.csv there."""
    folder = Path(required(cfg.time, "runs", "time", wanted="folder of runs"))
    timings = time_runs(folder, cfg)
    table = Table("Run", "Forward pass per patch [ms]", "Training step [ms]")
    for name, timing in timings.items():
        table.add_row(name, f"{timing.forward_ms:.1f}", f"{timing.step_ms:.1f}")
    Console().print(table)
    log.info("timings: %s", folder / TIMINGS)
    return folder
