"""What each choice of the device's policy is worth on a card, beside nnU-Net's network, in five minutes.

python -m tests.benchmarks.gpu
python -m tests.benchmarks.gpu --device=cpu --patch=16 --steps=1    only shows that it runs

Milliseconds and the most memory of a training step (forward, loss, backward, optimizer) on 2x1x128x128x128 in
half precision, by layout, norm, cudnn.benchmark, merged convolutions and torch.compile. The last table times
batches on the host and on the card: a card whose steps take less time than its batches is idle in between.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from monai.losses import DeepSupervisionLoss
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from app.cli.config.settings import read_settings
from app.data.sample.augment import Augment
from app.data.sample.augment_settings import AugmentSettings
from app.data.sample.batches import BatchSource
from app.data.sample.patches import PatchSampler
from app.layers import device_policy
from app.layers.device_policy import DevicePolicy, autocast, choose_precision, laid_out, policy_of
from app.losses.losses import dice_ce
from app.models.model import Shape
from app.models.network import design, to_device
from app.models.unet import UNetModel
from app.operators import Operator
from app.operators.cakes import Cakes
from app.operators.merging import merge_faster
from app.operators.plain import Conv3d
from app.train.machine.machine_speed import PlainNetwork
from tests.benchmarks.batches import SPACING, write_case
from tests.support.config import composed

WIDTHS = (32, 64, 128, 256)
CLASSES = 3
Measured = tuple[float, float]
"""Milliseconds and GB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=15)
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    image = torch.randn(2, 1, *(chosen.patch,) * 3, device=device)
    table = Table("network", "layout, norm", "cudnn.benchmark", "merged", "compiled", "ms", "GB")
    fastest = float("inf")
    for cells, found in _rows(image, chosen.steps):
        fastest = min(fastest, found[0])
        print(*cells, *found, flush=True)
        table.add_row(*cells, f"{found[0]:.1f}", f"{found[1]:.2f}")
    Console(width=120).print(table)
    _batches(device, chosen.patch, chosen.steps, fastest)


def _rows(image: Tensor, steps: int) -> Iterator[tuple[tuple[str, ...], Measured]]:
    usual = policy_of(image.device)
    last = replace(usual, memory_format=torch.channels_last_3d, native_norm=False, benchmark=False)
    policies = {"channels-last, group": last, "contiguous, native": replace(usual, native_norm=True)}
    operators: dict[str, Operator] = {"conv3d": Conv3d(), "cakes": Cakes("12d", 8, None)}
    for layout, policy in policies.items():
        for benchmark in (False, True):
            with _as(image.device, replace(policy, benchmark=benchmark)):
                for name, operator in operators.items():
                    yield (name, layout, str(benchmark), "no", "no"), _step(_network(operator), image, steps)
                yield ("nnU-Net", layout, str(benchmark), "-", "no"), _step(PlainNetwork(), image, steps)
    with _as(image.device, replace(policies["contiguous, native"], benchmark=True)):
        network = to_device(_network(operators["cakes"]), image.device)
        with tempfile.TemporaryDirectory() as folder:
            precision = choose_precision("auto", image.device)
            merged = len(merge_faster(network, laid_out(image), precision, Path(folder)))
        cells = ("cakes", "contiguous, native", "True", f"{merged} layers", "no")
        yield cells, _step(network, image, steps)
        if image.device.type == "cuda":
            compiled = torch.compile(network, dynamic=False)
            yield (*cells[:-1], "yes"), _step(compiled, image, steps)  # type: ignore[arg-type]


def _network(operator: Operator) -> nn.Module:
    strides = ((1, 1, 1), *((2, 2, 2),) * (len(WIDTHS) - 1))
    shape = Shape(1, CLASSES, WIDTHS, strides, ((3, 3, 3),) * len(WIDTHS))
    return design(UNetModel("plain", 2, 2, True), shape, operator, None).build()


def _step(network: nn.Module, image: Tensor, steps: int) -> Measured:
    """A training step, after two that set up more than they compute."""
    device = image.device
    torch.manual_seed(0)
    network, x = to_device(network, device).train(), laid_out(image)
    labels = torch.randint(CLASSES, (len(image), 1, *image.shape[2:]), device=device).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    loss, precision = DeepSupervisionLoss(dice_ce()), choose_precision("auto", device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            logits = network(x)
        loss(logits, labels).backward()
        optimizer.step()

    _timed(step, device, 2)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    ms = _timed(step, device, steps)
    return ms, torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0


def _timed(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Milliseconds each."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - started) / times


def _batches(device: torch.device, patch: int, steps: int, step_ms: float) -> None:
    settings = read_settings(AugmentSettings, composed().augment, "augment")
    size = (patch,) * 3
    table = Table("readers", "batches a second", "share of time the card works, %")
    with tempfile.TemporaryDirectory() as folder:
        cases = [write_case(Path(folder), number, (2 * patch,) * 3, 1, CLASSES) for number in range(2)]
        sampler = PatchSampler(
            cases, size=size, margin=settings.margin(size, SPACING), batch=2, foreground_share=0.33, seed=0
        )
        chain = Augment(settings, patch=size, spacing=SPACING)
        for readers in (1, 2, 4):
            source = BatchSource(sampler, chain, seed=0, readers=readers, device=device)
            coming = source.ahead(0, 4 * steps + 8)
            for _ in range(8):
                next(coming)
            ms = _timed(lambda coming=coming: next(coming), device, 4 * steps)  # type: ignore[misc]
            table.add_row(str(readers), f"{1000 / ms:.1f}", f"{100 * step_ms / max(step_ms, ms):.0f}")
    Console(width=120).print(table)


@contextmanager
def _as(device: torch.device, policy: DevicePolicy) -> Iterator[None]:
    """Let a device have another policy."""
    policies = device_policy._POLICIES
    before = policy_of(device)
    policies[device.type] = policy
    torch.backends.cudnn.benchmark = policy.benchmark
    try:
        yield
    finally:
        policies[device.type] = before


if __name__ == "__main__":
    main()
