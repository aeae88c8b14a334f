"""Data prepared once, before the jobs of a sweep start side by side."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig

from app.cli.config.build import build_loss, choose_device, network_builder, plan_settings
from app.cli.config.exit_codes import USER_ERRORS, in_one_line
from app.cli.config.settings import plain
from app.cli.config.task import open_task
from app.train.setup import open_cache, plan_for

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
            task, _ = open_task(cfg)
            build, cache = network_builder(cfg, task), open_cache(Path(cfg.paths.cache), task)
            loss, device = build_loss(cfg, task), choose_device(cfg)
            plan, _ = plan_for(task, cache, plan_settings(cfg), build=build, loss=loss, device=device)
            cache.prepare(plan)
        except USER_ERRORS as error:
            log.warning("not prepared: %s", in_one_line(error))
