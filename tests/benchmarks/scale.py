"""Many classes and large scans: seconds and memory of what grows with them, against one volume per class.

python -m tests.benchmarks.scale            losses and labels, a minute
python -m tests.benchmarks.scale --voxels=128
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from app.core.machine import usable_cores
from app.core.types import as_size
from app.data.prepare.bricks import Bricks, stored_image, to_bricks
from app.data.prepare.label_vote import sample_labels
from app.data.prepare.resample import resample_labels
from app.data.sample.augment import rotation
from app.losses.losses import dice_ce
from app.train.step_memory import _Alive

CLASSES = (3, 32, 118)
Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--voxels", type=int, default=96, help="along each axis of a patch")
    parser.add_argument("--threads", type=int, default=len(usable_cores()))
    parser.add_argument("--slices", type=int, default=300, help="of 512x512 voxels that patches are cut from")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    table = Table(
        *(
            "what",
            "classes",
            "one volume per class, s",
            "now, s",
            "times",
            "MB before",
            "MB now",
            "differing",
        ),
        title=f"patches of {chosen.voxels} voxels along each axis, {chosen.threads} threads",
    )
    for classes in CLASSES:
        table.add_row(*_loss(classes, chosen.voxels))
    for classes in CLASSES:
        table.add_row(*_turned(classes, chosen.voxels))
    for classes in CLASSES:
        table.add_row(*_resampled(classes, chosen.voxels))
    Console(width=140).print(table)
    _patches(chosen.slices)


def _loss(classes: int, voxels: int) -> list[str]:
    """Dice and cross-entropy of a batch of one, forward and backward."""
    from monai.losses import DiceCELoss

    logits = torch.randn(1, classes, *(voxels,) * 3).contiguous(memory_format=torch.channels_last_3d)
    labels = torch.randint(classes, (1, 1, *(voxels,) * 3)).float()
    monai = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    found: list[Tensor] = []

    def step(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        leaf = logits.detach().requires_grad_()
        value = loss(leaf, labels)
        value.backward()  # type: ignore[no-untyped-call]
        found.append(value.detach())

    row = _compared("Dice + cross-entropy", classes, lambda: step(monai), lambda: step(dice_ce()))
    return [*row, f"{float(abs(found[0] - found[-1])):.0e} of the value"]


def _turned(classes: int, voxels: int) -> list[str]:
    """Image and labels of a turned patch."""
    labels = _blocks(classes, round(1.2 * voxels))
    image = torch.randn(1, 1, *labels.shape)
    turned = torch.cat([rotation(np.array([0.4, 0.3, -0.2])) * 0.83, torch.zeros(3, 1)], 1)
    grid = F.affine_grid(turned[None], [1, 1, *(voxels,) * 3], align_corners=False)
    found: list[Tensor] = []

    def before() -> None:
        one_hot = F.one_hot(labels.long(), classes)[..., 1:].movedim(-1, 0)[None].float()
        sampled = F.grid_sample(torch.cat([image, one_hot], dim=1), grid, align_corners=False)[0, 1:]
        found.append(torch.cat([1 - sampled.sum(0, keepdim=True), sampled]).argmax(0))

    def now() -> None:
        F.grid_sample(image, grid, align_corners=False)
        found.append(sample_labels(labels, grid[0]))

    row = _compared("a turned patch", classes, before, now)
    return [*row, f"{int((found[0] != found[-1]).sum())} of {found[0].numel()} voxels"]


def _resampled(classes: int, voxels: int) -> list[str]:
    """A label map onto a grid 1.25 times coarser."""
    labels = _blocks(classes, voxels).numpy()
    size = (round(voxels / 1.25),) * 3
    found: list[np.ndarray] = []

    def before() -> None:
        best, result = torch.full(size, -1.0), torch.zeros(size, dtype=torch.uint8)
        for value in range(classes):
            mask = torch.from_numpy(labels == value).float()[None, None]
            share = F.interpolate(mask, size=size, mode="trilinear", align_corners=False)[0, 0]
            result[share > best] = value
            best = torch.maximum(best, share)
        found.append(result.numpy())

    row = _compared(
        "a label map resampled", classes, before, lambda: found.append(resample_labels(labels, size))
    )
    return [*row, f"{int((found[0] != found[-1]).sum())} of {found[0].size} voxels"]


def _patches(slices: int) -> None:
    """Patches of 154 voxels a side out of slices of 512x512, in rows of single precision and in bricks."""
    table = Table("layout", "MB on disk", "ms a patch, read before", "runs at most", "read / wanted at most")
    size, patch = (slices, 512, 512), (154, 154, 154)
    image = np.zeros((1, *size), dtype=np.float32)
    image[0] = np.random.default_rng(0).standard_normal(size[1:], dtype=np.float32)
    starts = [as_size(np.random.default_rng(i).integers(0, np.subtract(size, patch))) for i in range(12)]
    with tempfile.TemporaryDirectory() as folder:
        for name, stored in (("rows, float32", image), ("bricks, float16", to_bricks(stored_image(image)))):
            path = Path(folder) / "image.npy"
            np.save(path, stored)
            bricks = Bricks(np.load(path, mmap_mode="r"), as_size(size))
            seconds = []
            for start in (*starts, *starts):  # the second time from memory
                begun = time.perf_counter()
                bricks.cut(start, patch, np.float32)
                seconds.append(time.perf_counter() - begun)
            read = (
                [bricks.runs(start, patch) for start in starts]
                if stored.ndim > 4
                else [(154, 154 * 154 * 512)]
            )
            table.add_row(
                *(name, f"{stored.nbytes / 1e6:.0f}", f"{1000 * median(seconds[12:]):.1f}"),
                *(str(max(runs for runs, _ in read)), f"{max(n for _, n in read) / 154**3:.2f}"),
            )
    Console(width=140).print(table)


def _blocks(classes: int, voxels: int) -> Tensor:
    """Labels in blocks of an eighth of the volume's length."""
    coarse = torch.randint(classes, (1, 1, 8, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    return F.interpolate(coarse, size=(voxels,) * 3, mode="nearest")[0, 0].to(torch.uint8)


def _compared(name: str, classes: int, before: Work, now: Work) -> list[str]:
    """Seconds of this process and bytes of tensors, of either way."""
    (old, old_bytes), (new, new_bytes) = _measured(before), _measured(now)
    memory = (f"{old_bytes / 1e6:.0f}", f"{new_bytes / 1e6:.0f}")
    return [name, str(classes), f"{old:.3f}", f"{new:.3f}", f"{old / new:.1f}", *memory]


def _measured(work: Work) -> tuple[float, int]:
    """The fewest processor seconds of up to three runs, and the most bytes of tensors alive at once."""
    seconds: list[float] = []
    while not seconds or (len(seconds) < 3 and sum(seconds) < 3):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    with _Alive() as alive:
        work()
    return min(seconds), alive.peak


if __name__ == "__main__":
    main()
