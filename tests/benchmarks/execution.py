"""Mixed convolutions as they run, group by group, against one convolution with all their taps.

python -m tests.benchmarks.execution [layout=conf/op/layouts/hippocampus_macs20.yaml] [batch=2]
One row for each convolution with more than one kernel, on the sizes of a hippocampus patch. The merged one
has the smallest kernel that covers them all, zeros elsewhere: more multiply-adds, fewer calls, no joining.
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.core.layout import read_layout
from app.core.types import as_size
from app.layers.convolution import dense_conv
from app.models.model import Shape
from app.models.network import list_convolutions, to_device
from app.models.unet import UNetModel
from app.operators.mixed import MixedConv3d

SHAPE = Shape(1, 3, (16, 32, 64, 128), ((1, 1, 1),) + ((2, 2, 2),) * 3, ((3, 3, 3),) * 4, (40, 56, 40))
MODEL = UNetModel("plain", 2, 2, deep_supervision=True)
ROUNDS = 15


def main(arguments: list[str]) -> None:
    """Print the table, and what merging where it is faster would save in all."""
    given = {"layout": "conf/op/layouts/hippocampus_macs20.yaml", "batch": "2"}
    given |= dict(argument.split("=", 1) for argument in arguments)
    layout = read_layout(Path(given["layout"])).convolutions
    columns = ("forward split", "merged ms", "step split", "merged ms")
    table = Table("convolution", "kernels", "merged", *columns)
    saved = torch.zeros(2)
    spent = torch.zeros(2)
    for conv in list_convolutions(MODEL, SHAPE):
        groups = layout[conv.name]
        assert conv.size is not None
        x = torch.randn(int(given["batch"]), conv.in_channels, *conv.size)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        cover = Kernel(as_size([max(kernel.extent[axis] for kernel in groups) for axis in range(3)]))
        split = MixedConv3d(conv.in_channels, groups, conv.stride)
        merged = dense_conv(conv.in_channels, conv.out_channels, cover, conv.stride)
        ms = measured([to_device(module, torch.device("cpu")) for module in (split, merged)], x)
        spent += torch.tensor(ms[0])
        if len(groups) > 1:
            saved += (torch.tensor(ms[0]) - torch.tensor(ms[1])).clamp(min=0)
            kernels = " ".join(f"{kernel}:{channels}" for kernel, channels in groups.items())
            figures = (ms[0][0], ms[1][0], ms[0][1], ms[1][1])
            table.add_row(conv.name, kernels, str(cover), *(f"{value:.2f}" for value in figures))
    Console(width=140).print(table)
    for name, some, whole in zip(("forward", "step"), saved.tolist(), spent.tolist(), strict=True):
        print(f"{name}: merging where it is faster saves {some:.1f} of {whole:.1f} ms of mixed convolutions")


def measured(modules: list[nn.Module], x: Tensor) -> list[tuple[float, float]]:
    """Median milliseconds forward without gradients, and of a step, of each, measured turn about."""
    seen: list[list[tuple[float, float]]] = [[] for _ in modules]
    for _ in range(ROUNDS):
        for module, pairs in zip(modules, seen, strict=True):
            pairs.append((forward(module, x), step(module, x)))
    return [(median(f for f, _ in pairs[2:]), median(s for _, s in pairs[2:])) for pairs in seen]


@torch.inference_mode()
def forward(module: nn.Module, x: Tensor) -> float:
    started = perf_counter()
    module(x[:1])
    return 1000 * (perf_counter() - started)


def step(module: nn.Module, x: Tensor) -> float:
    given = x.detach().requires_grad_()
    with torch.no_grad():
        grad = torch.ones_like(module(given))
    started = perf_counter()
    module(given).backward(grad)
    return 1000 * (perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1:])
