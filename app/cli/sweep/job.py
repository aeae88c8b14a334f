"""One job of a sweep in its own process: its log, its record and its errors."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from app.cli.config.exit_codes import USER_ERRORS, in_one_line
from app.cli.config.run_log import log_into
from app.core.errors import interrupts_kept
from app.core.sweep import read_record, write_record

log = logging.getLogger(__name__)


def run_job(folder: Path, cfg: DictConfig, mode: Callable[[DictConfig], object]) -> None:
    """Run a mode and record how it ended; the sweep reads the record, so an error ends only this job."""
    log_into(folder)
    record = read_record(folder)
    if record is None:  # started by another sweeper, which expects errors to be raised
        mode(cfg)
        return
    log.info("job %s: %s", folder.name, " ".join(record.overrides))
    write_record(folder, record.now("running"))
    started = time.perf_counter()
    try:
        with interrupts_kept():
            mode(cfg)
    except USER_ERRORS as error:
        log.error("error: %s", line := in_one_line(error))
        write_record(folder, record.now("failed", error=line))
    except Exception as error:
        log.exception("failed")
        message = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
        write_record(folder, record.now("failed", error=f"{message}, see {folder}"))
    else:
        write_record(folder, record.now("done", seconds=round(time.perf_counter() - started, 1)))
