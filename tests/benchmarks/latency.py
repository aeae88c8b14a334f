"""How well a table of measured kernels foretells whole networks: predicted against measured milliseconds.

python -m tests.benchmarks.latency task=hippocampus paths.data=<folder>
The table knows convolutions. What else a network does is the dense network's time less its convolutions';
the prediction for a layout is that rest and the layout's convolutions from the table.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from app.cli.config.build import choose_device, set_up_process
from app.core.layout import Layout
from app.core.types import Size
from app.models.model import Shape
from app.models.network import design, list_convolutions, to_device
from app.models.unet import UNetModel
from app.operators.cakes import split
from app.operators.mixed import Mixed
from app.operators.plain import Conv3d
from app.operators.vocabulary import vocabulary
from app.search.costs import Budget, ChannelCounts, MacsCost, Site, dense_total, total_cost
from app.search.evolve import Evolution, even_chances
from app.search.latency_table import latency_costs
from app.train.machine.environment import machine
from tests.benchmarks.step import compose_for

ALIGN, ROUNDS = 16, 15
PATCH: Size = (40, 56, 40)
SHAPE = Shape(1, 3, (16, 32, 64, 128), ((1, 1, 1),) + ((2, 2, 2),) * 3, ((3, 3, 3),) * 4, PATCH)
MODEL = UNetModel("plain", 2, 2, deep_supervision=True)


def main(overrides: list[str]) -> None:
    """Print one row a network."""
    cfg = compose_for("conv3d", overrides)
    set_up_process(cfg)
    device = choose_device(cfg)
    sites = [Site(conv, vocabulary("123d", ""), ALIGN) for conv in list_convolutions(MODEL, SHAPE)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "latency.json"
        costs = latency_costs(path, sites, align=ALIGN, machine=machine(device), device=device)
    layouts = layouts_of(sites)
    specs = {"dense": design(MODEL, SHAPE, Conv3d(), None)} | {
        name: design(MODEL, SHAPE, Mixed(Layout(counts, {})), None) for name, counts in layouts.items()
    }
    ms = measure({name: to_device(spec.build(), device).eval() for name, spec in specs.items()}, device)
    rest = ms["dense"] - dense_total(sites, costs)
    table = Table("network", "GMAC", "predicted ms", "measured ms", "error %")
    table.add_row("dense", f"{specs['dense'].cost(PATCH).macs / 1e9:.2f}", "", f"{ms['dense']:.1f}", "")
    for name, counts in layouts.items():
        predicted = rest + total_cost(sites, counts, costs)
        error = 100 * (predicted / ms[name] - 1)
        macs = specs[name].cost(PATCH).macs / 1e9
        table.add_row(name, f"{macs:.2f}", f"{predicted:.1f}", f"{ms[name]:.1f}", f"{error:+.1f}")
    Console(width=100).print(table)
    print(f"{rest:.1f} ms of each are not convolutions")


def layouts_of(sites: list[Site]) -> dict[str, ChannelCounts]:
    """Equal splits and random layouts of several budgets."""
    equal = {
        f"equal {name}": {
            site.conv.name: split(site.conv, vocabulary(name, ""), ALIGN, turn)
            for turn, site in enumerate(sites)
        }
        for name in ("1d", "2d", "12d", "123d")
    }
    drawn = {}
    for seed, share in enumerate((0.15, 0.2, 0.3, 0.5)):
        budgets = [Budget(MacsCost(), share)]
        chance = Evolution(sites, budgets, even_chances(sites, budgets))
        drawn[f"random {share}"] = chance.by_chance(seed).counts
    return equal | drawn


@torch.inference_mode()
def measure(networks: dict[str, nn.Module], device: torch.device) -> dict[str, float]:
    """Median milliseconds of one patch, networks in turn."""
    x = torch.randn(1, 1, *PATCH, device=device).contiguous(memory_format=torch.channels_last_3d)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(ROUNDS):
        for name, network in networks.items():
            seconds[name].append(timed(network, x))
    return {name: 1000 * median(values[2:]) for name, values in seconds.items()}


def timed(network: nn.Module, x: Tensor) -> float:
    started = perf_counter()
    network(x)
    return perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1:])
