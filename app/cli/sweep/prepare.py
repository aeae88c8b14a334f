"""Data prepared once, before the jobs of a sweep start side by side."""

import json
import logging
from collections.abc import Iterable

from omegaconf import DictConfig

from app.cli.config.exit_codes import USER_ERRORS, in_one_line
from app.cli.config.settings import plain
from app.cli.config.training import plan_configured

log = logging.getLogger(__name__)


def prepare_once(configurations: Iterable[DictConfig]) -> None:
    """Fill the cache for each distinct task and plan; what is wrong with one is left for its jobs to say."""
    seen: set[str] = set()
    for cfg in configurations:
        wanted = json.dumps([plain(cfg.task), plain(cfg.plan)], sort_keys=True)
        if not cfg.mode.get("prepares", False) or wanted in seen:
            continue
        seen.add(wanted)
        try:
            planned = plan_configured(cfg)
            planned.cache.prepare(planned.plan.locate or planned.plan)
        except USER_ERRORS as error:
            log.warning("not prepared: %s", in_one_line(error))
