"""The mode analyze: receptive field and cost of each convolution, and optimisers of both."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from app.analyze.convolutions import Layer, layers, objective, timed
from app.analyze.kernels import SETS_ABOVE_THE_CHEAPEST, choose_kernels
from app.analyze.mixes import choose_mixes
from app.analyze.picture import draw_layers
from app.analyze.settings import AnalyzeSettings
from app.analyze.stages import arrange
from app.cli.config.folders import open_other_folder
from app.cli.config.settings import read_settings
from app.cli.config.training import plan_configured
from app.cli.modes.next_steps import command
from app.core import run_folder
from app.core.csv_file import write_csv
from app.core.files import write_text
from app.core.layout import write_layout
from app.core.nested import as_lists
from app.core.progress import progress_bar
from app.core.types import Size, Spacing
from app.models.model import Model
from app.models.network import NetworkSpec, list_convolutions
from app.operators import Operator

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Path:
    """Write, print and draw the table of convolutions; write the optimised model or layout if asked for."""
    settings = read_settings(AnalyzeSettings, cfg.analyze, "analyze")
    with open_other_folder(cfg) as folder:
        planned = plan_configured(cfg)
        plan, spec = planned.plan, planned.build(planned.plan)
        found = layers(spec, plan.patch)
        if settings.latency:
            found = timed(spec, plan.patch, found)
        write_csv(folder / run_folder.ANALYSIS, [_row(layer) for layer in found])
        draw_layers(folder / run_folder.ANALYSIS_PICTURE, found, plan.patch)
        _print(found, spec, plan.patch)
        if settings.optimise == "stage":
            _optimise_stages(spec, plan.patch, settings, folder)
        elif settings.optimise == "mix":
            _optimise_mixes(spec, plan.patch, settings, folder)
        elif settings.optimise == "kernel":
            _optimise_kernels(spec, plan.patch, settings, folder)
        return folder


def _optimise_stages(spec: NetworkSpec, patch: Size, settings: AnalyzeSettings, folder: Path) -> None:
    with progress_bar("Moving blocks", 0) as advance:
        found = arrange(spec, patch, measure=settings.cost, budget=settings.budget, advance=advance)
    write_text(folder / "model" / "arranged.yaml", yaml.safe_dump(_config_of(found.model), sort_keys=False))
    log.info("mean score %.3f -> %.3f", found.before, found.after)
    log.info("to train it: %s ...", command("--config-dir", str(folder.resolve()), "model=arranged"))


def _optimise_mixes(spec: NetworkSpec, patch: Size, settings: AnalyzeSettings, folder: Path) -> None:
    with progress_bar("Choosing mixes", 0) as advance:
        found = choose_mixes(spec, patch, measure=settings.cost, budget=settings.budget, advance=advance)
    write_text(folder / "op" / "mixes.yaml", yaml.safe_dump(_config_of(found.operator), sort_keys=False))
    log.info(
        "kernels as in arXiv 2009.05236 (depthwise, grouped or rolling 1x1x1); the score and the choice "
        "follow our formulation"
    )
    log.info("mean score %.3f with 8 groups -> %.3f", found.before, found.after)
    log.info("to train it: %s ...", command("--config-dir", str(folder.resolve()), "op=mixes"))


def _config_of(described: Model | Operator) -> dict[str, Any]:
    """Return the values of a configuration file that builds a model or operator equal to `described`."""
    kind = type(described)
    values = {name: as_lists(value) for name, value in described.describe().items() if name != "kind"}
    return {"_target_": f"{kind.__module__}.{kind.__name__}", **values}


def _optimise_kernels(spec: NetworkSpec, patch: Size, settings: AnalyzeSettings, folder: Path) -> None:
    steps = SETS_ABOVE_THE_CHEAPEST * len(list_convolutions(spec.model, spec.shape))
    with progress_bar("Choosing kernels", steps) as advance:
        found = choose_kernels(spec, patch, measure=settings.cost, budget=settings.budget, advance=advance)
    write_layout(folder / run_folder.LAYOUT, found.layout)
    log.info("CAKES kernels chosen by our score; the paper's own kernels are analyze.optimise=mix")
    log.info("mean score %.3f with 1D kernels -> %.3f", found.before, found.after)
    log.info("to train it: %s ...", command("op=cakes", f"op.layout={folder / run_folder.LAYOUT}"))


def _row(layer: Layer) -> dict[str, object]:
    """Return the convolution's row of the CSV file."""
    sizes = {
        f"{name}_{axis}": f"{size:g}"
        for name in ("jump", "field_min", "field_mean", "field_max")
        for axis, size in zip("dhw", getattr(layer, name), strict=True)
    }
    return {
        **{"name": layer.name, **sizes, "channels": layer.channels},
        **{"score": round(layer.score, 4), "gain": round(layer.gain, 4)},
        **{"params": layer.params, "macs": layer.macs, "latency_ms": layer.latency_ms},
    }


def _print(found: Sequence[Layer], spec: NetworkSpec, patch: Size) -> None:
    """Print the short table, with everything except spatial convolutions as the rest."""
    whole = spec.cost(patch)
    columns = ("convolution", "field", "channels", "score", "gain", "params", "MMAC", "ms")
    table = Table(*columns, title="receptive field and cost; 3DRF score in our formulation")
    for layer in found:
        ms = "" if layer.latency_ms is None else f"{layer.latency_ms:.2f}"
        numbers = (f"{layer.channels:.1f}", f"{layer.score:.2f}", f"{layer.gain:+.2f}")
        table.add_row(
            *(layer.name, _shown(layer.field_mean), *numbers),
            *(f"{layer.params:,}", f"{layer.macs / 1e6:.1f}", ms),
        )
    rest = (
        whole.params - sum(layer.params for layer in found),
        whole.macs - sum(layer.macs for layer in found),
    )
    table.add_row("the rest", *[""] * 4, f"{rest[0]:,}", f"{rest[1] / 1e6:.1f}", "")
    mean = f"{objective(found):.2f}"
    table.add_row("all", "", "", mean, "", f"{whole.params:,}", f"{whole.macs / 1e6:.1f}", "")
    Console().print(table)


def _shown(size: Spacing) -> str:
    return "x".join(f"{length:.4g}" for length in size)
