"""The mode compress: make a cheaper network from a trained one, in a run folder of its own."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from app.cli.config.run_config import adopted_config
from app.cli.config.settings import leave_out, read_part, read_settings, required, section_values
from app.cli.config.training import open_configured, refuse_init
from app.cli.modes.train import finish
from app.compress.allocate import RankChoice
from app.compress.fits.method import DecompositionMethod
from app.compress.fits.settings import CompressSettings
from app.compress.methods import method_of
from app.compress.network import count_decomposable, decompose
from app.compress.patches import training_patches
from app.compress.suggested_layout import suggested_layout
from app.core import run_folder
from app.core.csv_file import read_csv, write_csv
from app.core.files import read_json, write_text
from app.core.layout import write_layout
from app.core.nested import as_lists
from app.core.progress import progress_bar
from app.infer.engines.engine import Member
from app.infer.scan.run_models import stored_sliding
from app.infer.scan.segmenter import Segmenter
from app.layers.latency import latency_ms
from app.metrics.results import summarise_scores
from app.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from app.models.network import to_device
from app.track.tracker import NoTracker, Tracker
from app.train.final_scores import evaluate_held_out
from app.train.layer_rates import scale_rates
from app.train.run import train_network
from app.train.training import Recipe, Training

TableRow = dict[str, str | float | int | None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Afterwards:
    """What follows the compression itself."""

    finetune: bool


def run(cfg: DictConfig) -> Path:
    """Decompose, evaluate before and after, and fine-tune if `compress.finetune` is set.

    A resumed run keeps its decomposed network and its table. Returns the run folder.
    """
    refuse_init(cfg, "compress", "its weights are those of compress.model")
    source = Path(required(cfg.compress, "model", "compress", wanted="run folder"))
    settings = read_settings(
        CompressSettings, leave_out(section_values(cfg.compress), "model", "finetune"), "compress"
    )
    finetune = read_part(_Afterwards, cfg.compress, "compress").finetune
    method = method_of(settings.method, settings)
    trained = read_checkpoint(source / run_folder.LAST)
    if cfg.train.resume is None:
        cfg = adopted_config(cfg, source, "compress.model")
    spec = replace(trained.network, shape=replace(trained.network.shape, patch=trained.plan.patch))
    with open_configured(
        cfg,
        make_builder=lambda _cfg, _task: lambda _plan: spec,
        change=partial(_slower, rate=settings.finetune_rate),
        facts={"op": f"{cfg.choices.op}-{settings.method}"},
        like=source,
    ) as (opened, tracker):
        before = replace(opened, network=spec, resumed=False)
        first = partial(_before, before, trained, source)
        rows = _rows(before, opened, tracker, method, trained=trained, judge_before=first, finetune=finetune)
        _print_table(opened.folder / run_folder.COMPRESSION, rows)
        return opened.folder


def _rows(
    before: Training,
    opened: Training,
    tracker: Tracker,
    method: DecompositionMethod,
    *,
    trained: Checkpoint,
    judge_before: Callable[[], dict[str, Any]],
    finetune: bool,
) -> list[TableRow]:
    """Decompose, evaluate and fine-tune in the opened folder; write and return the rows of its table."""
    table = opened.folder / run_folder.COMPRESSION
    first = NoTracker(opened.folder, resumed=False) if finetune else tracker  # finishing ends a tracker's run
    after = opened if opened.resumed else _decomposed(before, trained, method)
    if opened.resumed and table.is_file():
        rows: list[TableRow] = [dict(row) for row in read_csv(table)]
    else:
        state = after.state_of(read_checkpoint(after.folder / run_folder.LAST).weights)
        rows = [_row("before", before, judge_before()), _row("after", after, finish(after, state, first))]
        write_csv(table, rows)
    if finetune:
        state = train_network(after)
        rows = [*rows[:2], _row("fine-tuned", after, finish(after, state, tracker))]
        write_csv(table, rows)
    log.info("report: %s", after.folder / run_folder.REPORT)
    return rows


def _slower(recipe: Recipe, rate: float) -> Recipe:
    """Return the recipe with the learning rates of its schedule multiplied by `rate`."""

    def make(optimizer: Optimizer, steps: int) -> LRScheduler:
        schedule = recipe.make_schedule(optimizer, steps)
        scale_rates(schedule, [rate] * len(optimizer.param_groups))
        return schedule

    return replace(recipe, make_schedule=make)


def _decomposed(training: Training, trained: Checkpoint, method: DecompositionMethod) -> Training:
    """Decompose the network, write its checkpoint, and return its training before the first step."""
    settings = method.settings
    with progress_bar("Decomposing", 2 * count_decomposable(training.network)) as advance:
        found = decompose(
            *(
                training.network,
                trained.inference_weights,
                training_patches(training, settings.patches),
                method,
            ),
            seed=training.recipe.seed,
            advance=advance,
        )
    _write_ranks(training.folder / run_folder.RANKS, found.chosen)
    write_layout(training.folder / run_folder.NATURAL_LAYOUT, suggested_layout(found.dense))
    after = replace(training, network=found.spec, resumed=True)
    write_checkpoint(training.folder / run_folder.LAST, after.checkpoint(after.state_of(found.weights)))
    return after


def _before(training: Training, trained: Checkpoint, source: Path) -> dict[str, Any]:
    """Return the scores of the original network.

    They are read from its run if windows were placed as they are now; otherwise it is evaluated again.
    """
    summary = source / run_folder.SUMMARY
    if summary.is_file() and stored_sliding([Member(source, trained)]) == training.recipe.sliding:
        recorded: dict[str, Any] = read_json(summary)
        return recorded
    segmenter = Segmenter.from_checkpoint(
        trained, sliding=training.recipe.sliding, device=training.recipe.device
    )
    folder = training.folder / run_folder.BEFORE
    tolerance = training.recipe.nsd_tolerance_mm
    held_out = evaluate_held_out(
        segmenter, training.split.validation, training.task, folder, nsd_tolerance_mm=tolerance
    )
    return summarise_scores(held_out.scores)


def _row(name: str, training: Training, scores: Mapping[str, Any]) -> TableRow:
    cost, channels = training.network.cost(training.plan.patch), training.network.shape.in_channels
    network = to_device(training.network.build(), training.recipe.device).eval()
    return {
        "network": name,
        "params": cost.params,
        "macs_per_patch": cost.macs,
        "ms_per_patch": round(latency_ms(network, (1, channels, *training.plan.patch)), 1),
        "mean_dice": scores["mean_dice"],
        **{f"dice_{label}": value for label, value in scores["dice"].items()},
    }


def _write_ranks(path: Path, chosen: Mapping[str, RankChoice]) -> None:
    """Write the form of each convolution, and the share of energy that it was expected to lose."""
    entries = {
        name: {
            **(as_lists(asdict(choice.factors)) if choice.factors else {"form": "dense"}),
            "lost": round(choice.error, 5),
        }
        for name, choice in chosen.items()
    }
    write_text(path, yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, width=110))


def _print_table(path: Path, rows: list[TableRow]) -> None:
    """Print the rows of compression.csv, one network per column."""
    title, *figures = rows[0]
    table = Table("", *(str(row[title]) for row in rows), title=str(path))
    for figure in figures:
        table.add_row(figure, *(_text(row[figure]) for row in rows))
    Console().print(table)


def _text(value: str | float | int | None) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
