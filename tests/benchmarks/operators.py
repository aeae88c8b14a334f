"""Milliseconds of each operator against conv3d at equal width, forwards and with the backward pass.

python -m tests.benchmarks.operators [channels=32] [size=40,56,40] [batch=2]
Figures are of this machine; where multiply-adds are saved and time is not, the table says so.
"""

import sys
import time
from pathlib import Path
from statistics import median

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import nn

from app.core.types import as_size
from app.models.blocks import PlainBlock
from app.models.network import to_device
from app.operators import ConvSpec, Operator

ROUNDS = 7


def main(arguments: list[str]) -> None:
    """Measure all operators turn about and print the table."""
    given = {"channels": "32", "size": "40,56,40", "batch": "2", **dict(a.split("=", 1) for a in arguments)}
    channels, size = int(given["channels"]), as_size([int(n) for n in given["size"].split(",")])
    conv = ConvSpec("encoder.0.1", channels, channels, (3, 3, 3), (1, 1, 1), size)
    operators = {path.stem: _operator(path, conv) for path in sorted(Path("conf/op").glob("*.yaml"))}
    blocks = {name: to_device(PlainBlock([conv], op), torch.device("cpu")) for name, op in operators.items()}
    x = torch.randn(int(given["batch"]), channels, *size).contiguous(memory_format=torch.channels_last_3d)
    times = _measure(blocks, x)
    table = Table(
        "operator", "params", "MMAC", "of conv3d", "forward ms", "of conv3d", "step ms", "of conv3d", ""
    )
    dense, dense_times = operators["conv3d"].cost(conv, size), times["conv3d"]
    for name, operator in operators.items():
        cost, (forward, step) = operator.cost(conv, size), times[name]
        saves = cost.macs < dense.macs and step > dense_times[1]
        table.add_row(
            *(name, f"{cost.params:,}", f"{cost.macs / 1e6:.1f}", f"{cost.macs / dense.macs:.0%}"),
            *(f"{forward:.1f}", f"{forward / dense_times[0]:.0%}"),
            *(
                f"{step:.1f}",
                f"{step / dense_times[1]:.0%}",
                "saves multiply-adds, not time" if saves else "",
            ),
        )
    Console(width=120).print(table)


def _operator(path: Path, conv: ConvSpec) -> Operator:
    operator: Operator = instantiate(OmegaConf.load(path), _convert_="all")
    return operator.bind([conv])


def _measure(blocks: dict[str, nn.Module], x: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Median milliseconds of a forward pass, and of one with its backward pass, by operator."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in blocks}
    for _ in range(ROUNDS):
        for name, block in blocks.items():
            seen[name].append((_forward(block, x), _step(block, x)))
    return {name: (median(f for f, _ in pairs), median(s for _, s in pairs)) for name, pairs in seen.items()}


@torch.inference_mode()
def _forward(block: nn.Module, x: torch.Tensor) -> float:
    started = time.perf_counter()
    block(x)
    return 1000 * (time.perf_counter() - started)


def _step(block: nn.Module, x: torch.Tensor) -> float:
    given = x.clone(memory_format=torch.preserve_format).requires_grad_()
    started = time.perf_counter()
    block(given).square().mean().backward()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1:])
