"""Preparation of data and planning of networks, once before the jobs of a sweep run in parallel."""

import json
import logging
import re
from collections.abc import Iterable

import torch
from omegaconf import DictConfig

from app.cli.config.build import refuse_other_loss, threads_of
from app.cli.config.exit_codes import USER_ERRORS, in_one_line
from app.cli.config.settings import section_values
from app.cli.config.task import open_task
from app.cli.config.training import plan_configured
from app.cli.sweep.compose import compose
from app.cli.sweep.jobs import Job
from app.core.errors import InputError
from app.core.task import Task

_TIMED_BY = ("model", "op", "decoder_op", "loss", "region_loss", "train", "augment")
"""Sections that the time of a step depends on, and with it plans for a given time."""

log = logging.getLogger(__name__)


def prepare_once(configurations: Iterable[DictConfig], cores: int) -> None:
    """Fill the cache for each distinct plan; an error is logged, and its jobs will report it.

    The steps of each network are timed now, while the machine is idle, so that its jobs get the same plan. It
    is done with as many threads as a job will have on its `cores`.
    """
    threads = torch.get_num_threads()
    try:
        _prepare(configurations, cores)
    finally:
        torch.set_num_threads(threads)


def _prepare(configurations: Iterable[DictConfig], cores: int) -> None:
    seen: set[str] = set()
    for cfg in configurations:
        torch.set_num_threads(threads_of(cfg, cores))
        sections = ("task", "plan", *(_TIMED_BY if _is_timed(cfg) else ()))
        wanted = json.dumps(
            [section_values(cfg[section]) for section in sections], sort_keys=True, default=str
        )
        if not cfg.mode.get("prepares", False) or wanted in seen:
            continue
        seen.add(wanted)
        try:
            planned = plan_configured(cfg)
            planned.cache.prepare(planned.plan.locate or planned.plan)
        except USER_ERRORS as error:
            log.warning("not prepared: %s", in_one_line(error))


def refuse_other_losses(config: DictConfig, jobs: Iterable[Job]) -> None:
    """Check that no job sets a loss that its task does not train with.

    Errors of the data are left to the jobs, and so are modes that take the data of another run.

    Raises:
        InputError: one does.
    """
    tasks: dict[str, Task] = {}
    for job in jobs:
        if not any(re.match(r"[+~]*(region_)?loss\b", key) for key in job.choices):
            continue
        cfg = compose(config, job.overrides)
        if not cfg.mode.get("prepares", False) or cfg.search.model is not None:
            continue
        key = json.dumps([section_values(cfg.task), section_values(cfg.split)], sort_keys=True, default=str)
        try:
            tasks[key] = tasks.get(key) or open_task(cfg)[0]
        except USER_ERRORS:
            continue
        try:
            refuse_other_loss(job.overrides, tasks[key])
        except InputError as error:
            raise InputError(f"{job.name}: {error}") from None


def _is_timed(cfg: DictConfig) -> bool:
    """Return whether the number of steps depends on the time they take."""
    return all(value is None for value in (cfg.train.steps, cfg.train.max_minutes, cfg.plan.steps))
