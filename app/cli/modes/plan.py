"""mode=plan: what is planned from a data set, and why; nothing is trained."""

import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from app.cli.config.build import build_loss, choose_device, network_builder, plan_settings
from app.cli.config.run_config import open_folder
from app.cli.config.task import open_task
from app.core import run_folder
from app.core.files import write_json
from app.core.plan import write_plan
from app.data.plan.fingerprint import read_fingerprint
from app.train.setup import open_cache, plan_for

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Write fingerprint.json and plan.yaml into the run folder and print the plan."""
    folder = open_folder(cfg)
    task, _ = open_task(cfg)
    build, cache = network_builder(cfg, task), open_cache(Path(cfg.paths.cache), task)
    plan, reasons = plan_for(
        task, cache, plan_settings(cfg), build=build, loss=build_loss(cfg, task), device=choose_device(cfg)
    )
    write_json(folder / run_folder.FINGERPRINT, read_fingerprint(cache).to_dict())
    write_plan(folder / run_folder.PLAN, plan, reasons)
    table = Table("value", "planned", "reason", title=task.name)
    for name, value in plan.to_dict().items():
        table.add_row(name, str(value), reasons[name])
    Console().print(table)
    log.info("plan: %s", folder / run_folder.PLAN)
    return folder
