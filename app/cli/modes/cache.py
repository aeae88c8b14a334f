"""The mode cache: list the disk space of prepared cases, and delete some on request."""

import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from app.data.prepare.cache import FORMAT
from app.data.prepare.cache_list import choose_caches, clear_caches, list_caches

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Print one row per task and way of preparing; with `cache.delete` delete some of them."""
    folder = Path(cfg.paths.cache)
    entries = list_caches(folder)
    table = Table(
        "task", "spacing mm", "cases", "GB", "last change", "read by this version", title=str(folder)
    )
    for entry in entries:
        spacing = "x".join(f"{mm:g}" for mm in entry.spacing) if entry.spacing else ""
        current = "yes" if entry.format == FORMAT else "no"
        size, changed = f"{entry.bytes / 1e9:.3f}", f"{entry.changed:%Y-%m-%d %H:%M}"
        table.add_row(entry.task, spacing, str(entry.cases), size, changed, current)
    Console().print(table)
    log.info("%d caches, %.3f GB in %s", len(entries), sum(e.bytes for e in entries) / 1e9, folder)
    if cfg.cache.delete is not None:
        chosen = choose_caches(entries, str(cfg.cache.delete), FORMAT)
        log.info("deleted %d of them, %.3f GB", len(chosen), clear_caches(chosen) / 1e9)
    return folder
