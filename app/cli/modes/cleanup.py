"""The mode cleanup: find out on held-out predictions which clean-up helps, and record it in the runs."""

import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from app.cli.config.run_config import data_moved
from app.cli.config.settings import required, section_values
from app.core.moved import listed_paths
from app.infer.batch.choose_cleanup import VARIANTS, choose_cleanup
from app.infer.scan.cleanup import write_cleanup
from app.infer.scan.run_models import list_runs, read_members

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Write cleanup.json into every run; mode=predict applies it from then on."""
    required(cfg.cleanup, "runs", "cleanup", wanted="run folder")
    runs = list_runs(listed_paths(section_values(cfg.cleanup)["runs"]))
    checkpoint = read_members(runs, "last")[0].checkpoint
    cleanup, evidence = choose_cleanup(runs, checkpoint.labels, checkpoint.label_values, data_moved())
    table = Table("label", *VARIANTS, title=f"mean Dice over {evidence['cases']} held-out cases")
    for name, dice in evidence["dice"].items():
        table.add_row(name, *(f"{dice[variant]:.4f}" if variant in dice else "-" for variant in VARIANTS))
    Console().print(table)
    for folder in runs:
        write_cleanup(folder, cleanup, evidence)
    log.info(
        "labels that keep only their largest component: %s",
        ", ".join(cleanup.largest_component) or "for no label",
    )
    log.info("labels whose holes are filled: %s", ", ".join(cleanup.fill_holes) or "for no label")
    return runs[0]
