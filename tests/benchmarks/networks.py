"""Our networks, MONAI's and nnU-Net's on the same patches, turn about in one process.

python -m tests.benchmarks.networks [patch=40,56,40] [batch=9] [rounds=5] [threads=2] [channels_last=false]
A step is loss (Dice and cross-entropy, deep supervision), backward and optimizer, the same for all, on noise;
a forward is one patch without gradients. Medians of rounds in which each has one turn: what slows the machine
slows them all. Ours are channels-last, as they train; the others are in torch's own layout, as their authors
train them, unless channels_last=true. PlainConvUNet needs dynamic-network-architectures; without it the
yardstick, the same network, is what the others are compared with.
"""

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss
from monai.networks.nets import DynUNet
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from app.core.layout import read_layout
from app.core.machine import keep_freed_memory
from app.core.types import Size, as_size
from app.layers.cost import Cost
from app.models.model import Shape
from app.models.network import design, to_device
from app.models.unet import UNetModel
from app.operators import Operator
from app.operators.cakes import Cakes
from app.operators.mixed import Mixed
from app.operators.plain import Conv3d
from app.train.machine.machine_speed import PlainNetwork

SEARCHED = Path("conf/op/layouts/hippocampus_macs20.yaml")
CLASSES = 3
WIDTHS, THEIR_WIDTHS = (16, 32, 64, 128), (32, 64, 128, 256)
STRIDES = (1, 2, 2, 2)
WARM_UP = 1
CPU = torch.device("cpu")
PLAIN, YARDSTICK = "nnU-Net PlainConvUNet 32", "yardstick (PlainConvUNet of torch's modules)"


@dataclass(frozen=True)
class Setting:
    """What all networks are given."""

    patch: Size
    batch: int
    rounds: int
    threads: int
    channels_last: bool


@dataclass(frozen=True)
class Subject:
    """A network, the memory layout it is run in, and its cost."""

    network: nn.Module
    layout: torch.memory_format
    cost: Cost


def main(arguments: list[str]) -> None:
    """Measure all networks turn about and print the table."""
    setting = read_setting(arguments)
    torch.set_num_threads(setting.threads)
    kept = keep_freed_memory()
    subjects = {name: subject(network, setting) for name, network in networks().items()}
    steps, forwards = (
        measure({name: work(one, setting) for name, one in subjects.items()}, setting.rounds)
        for work in (step, forward)
    )
    names = ("network", "parameters", "GMAC a patch", "forward ms", "step s a sample", "times faster")
    table = Table(*names, title=f"{setting}, freed memory kept: {kept}, torch {torch.__version__}")
    slowest = steps[PLAIN if PLAIN in steps else YARDSTICK]
    for name, one in subjects.items():
        cost = f"{one.cost.params:,}", f"{one.cost.macs / 1e9:.2f}"
        times = f"{1000 * forwards[name]:.0f}", f"{steps[name] / setting.batch:.3f}"
        table.add_row(name, *cost, *times, f"{slowest / steps[name]:.2f}")
    if PLAIN not in subjects:
        table.add_row(PLAIN, "not installed: pip install dynamic-network-architectures")
    Console(width=150).print(table)


def read_setting(arguments: list[str]) -> Setting:
    """The arguments key=value of the command."""
    known = {"patch": "40,56,40", "batch": "9", "rounds": "5", "threads": "2", "channels_last": "false"}
    given = known | dict(argument.split("=", 1) for argument in arguments)
    if unknown := given.keys() - known.keys():
        sys.exit(f"got {', '.join(sorted(unknown))}, wanted {', '.join(known)}")
    return Setting(
        patch=as_size([int(length) for length in given["patch"].split(",")]),
        batch=int(given["batch"]),
        rounds=int(given["rounds"]),
        threads=int(given["threads"]),
        channels_last=given["channels_last"] == "true",
    )


def networks() -> dict[str, nn.Module]:
    """All networks by name, of four levels, two convolutions each, for one channel and three labels."""
    torch.manual_seed(0)
    found = {
        "ours, dense 16": ours(Conv3d(), WIDTHS),
        "ours, dense 8": ours(Conv3d(), (8, 16, 32, 64)),
        "ours, dense 32": ours(Conv3d(), THEIR_WIDTHS),
        "ours, 12d in equal split": ours(Cakes("12d", 16, None), WIDTHS),
        "ours, 12d, decoder of half width": ours(Cakes("12d", 16, None), WIDTHS, decoder_width=0.5),
        f"ours, {SEARCHED.stem}": ours(Mixed(read_layout(SEARCHED)), WIDTHS),
        "MONAI DynUNet 32": monai_network(),
        YARDSTICK: PlainNetwork(),
    }
    return found | ({PLAIN: plain_conv_unet()} if find_spec("dynamic_network_architectures") else {})


def ours(operator: Operator, widths: tuple[int, ...], decoder_width: float = 1.0) -> nn.Module:
    """Our U-Net; with 12d kernels and the thin decoder it is that of experiment=hippocampus_fast."""
    strides = tuple(as_size([stride] * 3) for stride in STRIDES)
    shape = Shape(1, CLASSES, widths, strides, ((3, 3, 3),) * len(widths))
    model = UNetModel("plain", 2, 2, deep_supervision=True, decoder_width=decoder_width)
    return design(model, shape, operator, None).build()


def monai_network() -> nn.Module:
    """As in MONAI's tutorials of nnU-Net's recipe, at the widths of nnU-Net's network."""
    network: nn.Module = DynUNet(
        *(3, 1, CLASSES, [3] * 4, list(STRIDES), list(STRIDES[1:])),
        filters=list(THEIR_WIDTHS),
        norm_name=("INSTANCE", {"affine": True}),
        deep_supervision=True,
        deep_supr_num=2,
    )
    return network


def plain_conv_unet() -> nn.Module:
    """nnU-Net's network for the hippocampus, from its authors' package."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    network: nn.Module = PlainConvUNet(
        *(1, len(STRIDES), THEIR_WIDTHS, nn.Conv3d, 3, STRIDES, 2, CLASSES, 2),
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )
    return network


def subject(network: nn.Module, setting: Setting) -> Subject:
    own = type(network).__module__.startswith("app.models")
    last = own or setting.channels_last
    cost = cost_of(network, setting.patch)
    made = to_device(network, CPU) if last else network
    return Subject(made, torch.channels_last_3d if last else torch.contiguous_format, cost)


def cost_of(network: nn.Module, patch: Size) -> Cost:
    """Parameters, and multiply-adds of predicting one patch, without computing it."""
    twin = predicting(copy.deepcopy(network).to("meta"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(torch.empty(1, 1, *patch, device="meta"))
    return Cost(sum(p.numel() for p in twin.parameters()), counter.get_total_flops() // 2)


def predicting(network: nn.Module) -> nn.Module:
    """In eval mode, nnU-Net's without its heads for deep supervision, which it switches by hand."""
    if hasattr(network, "decoder") and hasattr(network.decoder, "deep_supervision"):
        network.decoder.deep_supervision = False
    return network.eval()


def training(network: nn.Module) -> nn.Module:
    if hasattr(network, "decoder") and hasattr(network.decoder, "deep_supervision"):
        network.decoder.deep_supervision = True
    return network.train()


def step(one: Subject, setting: Setting) -> Callable[[], object]:
    """One training step on a batch of noise."""
    loss = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, include_background=False))
    optimizer = torch.optim.SGD(one.network.parameters(), lr=1e-4, momentum=0.99, nesterov=True)
    image = torch.randn(setting.batch, 1, *setting.patch).contiguous(memory_format=one.layout)
    labels = torch.randint(CLASSES, (setting.batch, 1, *setting.patch)).float()

    def run() -> None:
        logits = training(one.network)(image)
        optimizer.zero_grad(set_to_none=True)
        loss(levels(logits), labels).backward()
        nn.utils.clip_grad_norm_(one.network.parameters(), 12.0)
        optimizer.step()

    return run


def levels(logits: Tensor | list[Tensor]) -> list[Tensor]:
    """MONAI's network stacks its levels, all at full size, along a dimension of their own."""
    return list(logits.unbind(1)) if isinstance(logits, Tensor) else list(logits)


def forward(one: Subject, setting: Setting) -> Callable[[], object]:
    """One patch without gradients."""
    image = torch.randn(1, 1, *setting.patch).contiguous(memory_format=one.layout)

    def run() -> None:
        with torch.inference_mode():
            predicting(one.network)(image)

    return run


def measure(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, in turn, after a round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(WARM_UP + rounds):
        for name, call in work.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: median(values[WARM_UP:]) for name, values in seconds.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
