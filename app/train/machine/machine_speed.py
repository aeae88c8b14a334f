"""The current speed of the machine: seconds of one training step of nnU-Net's plain network.

The speed of a shared machine can change by a factor of two within an hour, so minutes are comparable only
with a measurement taken at the same time. The measurement must not change between versions: the network uses
PyTorch's own modules and memory layout, not ours, which become faster from version to version. It runs in a
separate process, so that its memory is not counted as the training's.
"""

import logging
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.types import Size

PATCH: Size = (40, 56, 40)
BATCH = 9
_CLASSES = 3
_WIDTHS = (32, 64, 128, 256)
_STEPS = 2  # the first sets up PyTorch's kernels and memory, only the last counts

log = logging.getLogger(__name__)


class PlainNetwork(nn.Module):
    """The network of nnU-Net for the Decathlon's hippocampus: 5.60 M parameters, 19.1 GMAC per patch.

    Two 3x3x3 convolutions per level, instance norm and leaky ReLU (Isensee et al., Nature Methods 18, 2021;
    PlainConvUNet of dynamic-network-architectures). Maps (B, 1, D, H, W) to a list of logits (B, 3, D, H, W);
    in training mode the logits of coarser levels follow.
    """

    def __init__(self) -> None:
        super().__init__()
        entering = (1, *_WIDTHS)
        self.encoder = nn.ModuleList(
            _stage(entering[level], width, 1 if level == 0 else 2) for level, width in enumerate(_WIDTHS)
        )
        self.up = nn.ModuleList(nn.ConvTranspose3d(2 * width, width, 2, 2) for width in _WIDTHS[:-1])
        self.decoder = nn.ModuleList(_stage(2 * width, width, 1) for width in _WIDTHS[:-1])
        self.heads = nn.ModuleList(nn.Conv3d(width, _CLASSES, 1) for width in _WIDTHS[:-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (B, 1, D, H, W) to logits, finest first; in eval mode to the finest only."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        logits: list[Tensor] = []
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([self.up[level](x), skips[level]], dim=1))
            if self.training or level == 0:
                logits.insert(0, self.heads[level](x))
        return logits


def measure_yardstick(
    device: torch.device, threads: int, *, patch: Size = PATCH, batch: int = BATCH
) -> float | None:
    """Return the seconds of one training step now, measured in a separate process.

    None if the system killed that process.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(yardstick_seconds, str(device), threads, patch, batch).result()
        except BrokenProcessPool:
            log.warning(
                "yardstick: not measured, because the system stopped its process; it needs about 2.5 GB of "
                "memory"
            )
            return None


def yardstick_seconds(device: str, threads: int, patch: Size = PATCH, batch: int = BATCH) -> float:
    """Return the seconds of the last of a few training steps on noise, in this process."""
    torch.set_num_threads(threads)
    network = PlainNetwork().to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.99, nesterov=True)
    image = torch.randn(batch, 1, *patch, device=device)
    labels = torch.randint(_CLASSES, (batch, *patch), device=device)
    seconds = 0.0
    for _ in range(_STEPS):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        plain_loss(network(image), labels).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimizer.step()
        float(next(network.parameters()).detach().sum())  # waits for an asynchronous device
        seconds = time.perf_counter() - started
    return seconds


def plain_loss(logits: list[Tensor], labels: Tensor) -> Tensor:
    """Return cross-entropy plus soft Dice, summed over levels with halved weights; labels (B, D, H, W)."""
    total = logits[0].new_zeros(())
    for level, found in enumerate(logits):
        step = 2**level
        total = total + _level_loss(found, labels[:, ::step, ::step, ::step]) / step
    return total


def _level_loss(logits: Tensor, labels: Tensor) -> Tensor:
    wanted = F.one_hot(labels, _CLASSES).movedim(-1, 1)
    likely = logits.softmax(1)
    shared, both = (likely * wanted).sum((0, 2, 3, 4)), (likely + wanted).sum((0, 2, 3, 4))
    return F.cross_entropy(logits, labels) - (2 * shared / both.clamp_min(1e-5)).mean()


def _stage(channels: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_convolved(channels, width, stride),
        *_convolved(width, width, 1),
    )


def _convolved(channels: int, width: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv3d(channels, width, 3, stride, 1)
    return [convolution, nn.InstanceNorm3d(width, affine=True), nn.LeakyReLU(0.01, inplace=True)]
