"""What each choice of the device's policy is worth on a card, beside nnU-Net's network, in five minutes.

python -m tests.benchmarks.gpu
python -m tests.benchmarks.gpu --device=cpu --patch=16 --steps=1    only shows that it runs

Milliseconds and the most memory of a training step (forward, loss, backward, optimizer) on 2x1x128x128x128 in
half precision, by layout, norm, cudnn.benchmark, merged convolutions and torch.compile. The last table makes
batches (read on the host, augmented on the card) and trains the fastest network on them: the card works for
the time of a step alone, and waits or augments for the rest.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from monai.losses import DeepSupervisionLoss
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from app.cli.config.settings import read_settings
from app.data.sample.augment import Augment
from app.data.sample.augment_settings import AugmentSettings
from app.data.sample.batches import Batch, BatchSource
from app.data.sample.patches import PatchSampler
from app.layers import device_policy
from app.layers.device_policy import DevicePolicy, autocast, choose_precision, laid_out, policy_of
from app.layers.out_of_memory import free_unused
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

NNUNET = "nnU-Net"
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
    fastest: Fastest | None = None
    for cells, network, found in _rows(image, chosen.steps):
        print(*cells, *found, flush=True)
        table.add_row(*cells, f"{found[0]:.1f}", f"{found[1]:.2f}")
        own = cells[0] != NNUNET and not math.isnan(found[0])
        if own and (fastest is None or found[0] < fastest.ms):
            fastest = Fastest(", ".join(cells), network, policy_of(device), found[0])
    Console(width=120).print(table)
    if fastest is not None:
        _batches(device, chosen.patch, chosen.steps, fastest)


@dataclass(frozen=True)
class Fastest:
    """The fastest of our networks and settings."""

    name: str
    network: nn.Module
    policy: DevicePolicy
    ms: float


def _rows(image: Tensor, steps: int) -> Iterator[tuple[tuple[str, ...], nn.Module, Measured]]:
    usual = policy_of(image.device)
    last = replace(usual, memory_format=torch.channels_last_3d, native_norm=False, benchmark=False)
    policies = {"channels-last, group": last, "contiguous, native": replace(usual, native_norm=True)}
    makers: dict[str, Callable[[], nn.Module]] = {
        "conv3d": lambda: _network(Conv3d()),
        "cakes": lambda: _network(Cakes("12d", 8, None)),
        NNUNET: PlainNetwork,
    }
    for layout, policy in policies.items():
        for benchmark in (False, True):
            with _as(image.device, replace(policy, benchmark=benchmark)):
                for name, make in makers.items():
                    network = make()
                    yield (name, layout, str(benchmark), "no", "no"), network, _step(network, image, steps)
    with _as(image.device, replace(policies["contiguous, native"], benchmark=True)):
        network = to_device(makers["cakes"](), image.device)
        with tempfile.TemporaryDirectory() as folder:
            precision = choose_precision("auto", image.device)
            merged = len(merge_faster(network, laid_out(image), precision, Path(folder)))
        cells = ("cakes", "contiguous, native", "True", f"{merged} layers", "no")
        yield cells, network, _step(network, image, steps)
        if image.device.type == "cuda":
            compiled: nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
            try:
                found = _step(compiled, image, steps)
            except Exception as error:  # of many kinds, such as without a compiler
                print("torch.compile failed:", str(error).strip().splitlines()[0])
                found = (math.nan, math.nan)
            yield (*cells[:-1], "yes"), compiled, found


def _network(operator: Operator) -> nn.Module:
    strides = ((1, 1, 1), *((2, 2, 2),) * (len(WIDTHS) - 1))
    shape = Shape(1, CLASSES, WIDTHS, strides, ((3, 3, 3),) * len(WIDTHS))
    return design(UNetModel("plain", 2, 2, True), shape, operator, None).build()


def _step(network: nn.Module, image: Tensor, steps: int) -> Measured:
    """A training step, after two that set up more than they compute; not a number if memory runs out."""
    device = image.device
    labels = torch.randint(CLASSES, (len(image), *image.shape[2:]), device=device)
    try:
        step = _training(network, device)
        _timed(lambda: step(image, labels), device, 2)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        ms = _timed(lambda: step(image, labels), device, steps)
    except torch.OutOfMemoryError:
        ms = math.nan
    if math.isnan(ms):
        free_unused()
        return ms, math.nan
    network.zero_grad(set_to_none=True)  # what is kept should not count in the next row
    return ms, torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0


def _training(network: nn.Module, device: torch.device) -> Callable[[Tensor, Tensor], None]:
    """A function that takes a training step on an image and labels (B, D, H, W)."""
    torch.manual_seed(0)
    network = to_device(network, device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    loss, precision = DeepSupervisionLoss(dice_ce()), choose_precision("auto", device)

    def step(image: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            logits = network(laid_out(image))
        loss(logits, labels[:, None].float()).backward()
        optimizer.step()

    return step


def _timed(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Milliseconds each."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - started) / times


def _batches(device: torch.device, patch: int, steps: int, fastest: Fastest) -> None:
    """Print how many batches a second are made, and trained on, for different numbers of readers."""
    settings = read_settings(AugmentSettings, composed().augment, "augment")
    size = (patch,) * 3
    table = Table(
        *("readers", "batches a second", "ms of a step alone", "with its batch", "the card works, %"),
        title=f"{fastest.name}, which took the fewest ms above",
    )
    with tempfile.TemporaryDirectory() as folder, _as(device, fastest.policy):
        cases = [write_case(Path(folder), number, (2 * patch,) * 3, 1, CLASSES) for number in range(2)]
        sampler = PatchSampler(
            cases, size=size, margin=settings.margin(size, SPACING), batch=2, foreground_share=0.33, seed=0
        )
        chain = Augment(settings, patch=size, spacing=SPACING)
        step = _training(fastest.network, device)
        for readers in (1, 2, 4):
            source = BatchSource(sampler, chain, seed=0, readers=readers, device=device)
            made = _timed(_taking(source.ahead(0, 4 * steps + 8)), device, 4 * steps)
            trained = _timed(_taking(source.ahead(0, steps + 8), step), device, steps)
            share = 100 * min(1.0, fastest.ms / trained)
            figures = (f"{1000 / made:.1f}", f"{fastest.ms:.1f}", f"{trained:.1f}", f"{share:.0f}")
            table.add_row(str(readers), *figures)
    Console(width=120).print(table)


def _taking(
    coming: Iterator[Batch], step: Callable[[Tensor, Tensor], None] | None = None
) -> Callable[[], None]:
    """A function that waits for the next batch, and takes a step on it, after eight to warm up."""

    def take() -> None:
        batch = next(coming)
        if step is not None:
            step(batch.image, batch.labels)

    for _ in range(8):
        take()
    return take


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
