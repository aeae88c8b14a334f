"""mode=plan: what is planned from a data set, and why; nothing is trained."""

import logging

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from app.cli.config.build import build_cache, build_network, build_plan
from app.cli.config.run_config import open_folder
from app.cli.config.task import open_task
from app.core import run_folder
from app.core.files import write_json
from app.core.plan import write_plan
from app.data.plan.fingerprint import read_fingerprint

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Write fingerprint.json and plan.yaml into the run folder and print the plan."""
    folder = open_folder(cfg)
    task, _ = open_task(cfg)
    cache = build_cache(cfg, task)
    plan, reasons = build_plan(cfg, task, cache, build_network)
    write_json(folder / run_folder.FINGERPRINT, read_fingerprint(cache).to_dict())
    write_plan(folder / run_folder.PLAN, plan, reasons)
    table = Table("value", "planned", "reason", title=task.name)
    for name, value in plan.to_dict().items():
        table.add_row(name, str(value), reasons[name])
    Console().print(table)
    log.info("plan: %s", folder / run_folder.PLAN)
