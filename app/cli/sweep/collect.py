"""The results of a sweep: results.csv, folds.json, report.html and a table on the screen."""

import logging
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from app.cli.config.paths import shell_word
from app.core import run_folder
from app.core.sweep import Sweep, read_record
from app.report.compare.folds import CrossValidation, Estimate, write_folds
from app.report.compare.groups import Comparison, Group
from app.report.compare.results import write_results
from app.report.page.missing import baseline_absent
from app.report.page.page import write_report
from app.report.read.runs import has_results
from app.report.wording import DASH, decimals, mean, scaled, signed

log = logging.getLogger(__name__)


def collect(folder: Path, sweep: Sweep) -> None:
    """Write and print the results of all jobs, with folds combined; log which failed and the next step."""
    comparison = write_results(folder, sweep, folder / run_folder.RESULTS)
    log.info("results: %s", folder / run_folder.RESULTS)
    runs = [path for entry in sweep.entries if has_results(path := folder / entry.name)]
    if runs:
        write_report(runs, folder / run_folder.REPORT, sweep=sweep)
        log.info("report: %s", folder / run_folder.REPORT)
    if comparison is not None:
        Console().print(comparison_table(comparison))
    for line in baseline_absent(comparison):
        log.warning(line)
    crossed = write_folds(folder, sweep)
    for one in crossed:
        _log_folds(one, folder)
    for entry in sweep.entries:
        record = read_record(folder / entry.name)
        if record is not None and record.state == "failed":
            log.error("failed: %s: %s", entry.name, record.error)
    if len(crossed) == len({entry.group for entry in sweep.entries}) == 1 and not crossed[0].missing:
        log.info(
            "to predict with the average of their networks: python run.py mode=predict %s "
            "predict.input=<scans> predict.output=<folder>",
            shell_word("predict.model", folder),
        )


def _log_folds(found: CrossValidation, folder: Path) -> None:
    """Log mean and standard error over folds, and which folds are missing."""
    labels = [f"{label} {_with_error(one)}" for label, one in found.scores["dice"].items()]
    log.info(
        "%s: mean Dice over %d folds %s (%s); over %d cases %s -> %s",
        *(found.group, len(found.folds), _with_error(found.mean_dice), ", ".join(labels)),
        *(found.mean_dice.cases, decimals(found.mean_dice.case_mean, 4), folder / run_folder.FOLDS),
    )
    if found.missing:
        log.warning(
            "not in it, because they have no results yet: %s; run the same command again to continue",
            ", ".join(found.missing),
        )


def _with_error(of: Estimate) -> str:
    return f"{decimals(of.mean, 4)} +- {decimals(of.standard_error, 4)}"


def comparison_table(comparison: Comparison) -> Table:
    """Return a table that fits 80 columns: long names are wrapped, and figures are never cut."""
    figures = ("Runs", "Mean Dice", "Difference (95 %)", "Params", "MACs")
    title = f"Mean Dice, and its paired difference to {comparison.baseline}"
    columns = (Column("Group", overflow="fold"), *(Column(name, no_wrap=True) for name in figures))
    table = Table(*columns, title=title, box=SIMPLE, pad_edge=False, collapse_padding=True)
    for group in comparison.groups:
        table.add_row(group.name, str(len(group.runs)), *_figures(group))
    return table


def _figures(group: Group) -> tuple[str, ...]:
    found = group.difference
    dice, params, macs = (
        mean(getattr(run.summary, name) for run in group.runs)
        for name in ("mean_dice", "params", "macs_per_patch")
    )
    less = DASH if found is None else f"{signed(found.mean)} ({signed(found.low)} to {signed(found.high)})"
    return decimals(dice, 4), less, scaled(params), scaled(macs)
