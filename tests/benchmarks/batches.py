"""Host time of a batch: drawing and reading patches, which stay on the host, and augmenting them.

python -m tests.benchmarks.batches
python -m tests.benchmarks.batches --classes=118 --channels=4

Processor time of one core, from a cache that is in memory. Augmentation runs on the network's device, so on a
GPU only the first row is the host's.
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

from app.cli.config.settings import read_settings
from app.core.files import write_json
from app.core.types import Size
from app.data.prepare.bricks import stored_image, to_bricks
from app.data.prepare.cached_case import CachedCase
from app.data.prepare.foreground import foreground_index
from app.data.prepare.geometry import Geometry
from app.data.sample.augment import Augment
from app.data.sample.augment_settings import AugmentSettings
from app.data.sample.batches import BatchSource
from app.data.sample.patches import PatchSampler
from tests.support.config import composed

SPACING = (1.0, 1.0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patch", type=int, default=128, help="voxels along each axis")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--slices", type=int, default=300, help="of 512x512 voxels of each case")
    parser.add_argument("--steps", type=int, default=12)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    patch = (chosen.patch,) * 3
    settings = read_settings(AugmentSettings, composed().augment, "augment")
    margin = settings.margin(patch, SPACING)
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            write_case(Path(folder), number, (chosen.slices, 512, 512), chosen.channels, chosen.classes)
            for number in range(2)
        ]
        sampler = PatchSampler(
            cases, size=patch, margin=margin, batch=chosen.batch, foreground_share=0.33, seed=0
        )
        source = BatchSource(sampler, Augment(settings, patch=patch, spacing=SPACING), seed=0)
        table = Table(
            *("what", "median, ms", "mean, ms", "most, ms"),
            title=f"{chosen.batch}x{chosen.channels}x{patch}, read with {margin}, {chosen.classes} classes",
        )
        for name, work in (("read", sampler.draw), ("read and augmented on the CPU", source.batch)):
            seconds = measured(work, chosen.steps)
            figures = (median(seconds), sum(seconds) / len(seconds), max(seconds))
            table.add_row(name, *(f"{1000 * value:.1f}" for value in figures))
    Console(width=120).print(table)


def measured(work: Callable[[int], object], steps: int) -> list[float]:
    """Processor seconds of each step, when its files have been read before."""
    seconds = []
    for step in (*range(steps), *range(steps)):
        started = time.process_time()
        work(step)
        seconds.append(time.process_time() - started)
    return seconds[steps:]


def write_case(folder: Path, number: int, size: Size, channels: int, classes: int) -> CachedCase:
    """Write a prepared case of noise, and of labels in blocks."""
    case = CachedCase(f"case_{number}", folder / f"case_{number}")
    case.folder.mkdir()
    rng = np.random.default_rng(number)
    image = np.empty((channels, *size), dtype=np.float32)
    image[:] = rng.standard_normal(size[1:], dtype=np.float32)
    coarse = torch.from_numpy(rng.integers(classes, size=(1, 1, 12, 20, 20))).float()
    labels = F.interpolate(coarse, size=size, mode="nearest")[0, 0].to(torch.uint8).numpy()
    np.save(case.folder / "image.npy", to_bricks(stored_image(image)))
    np.save(case.folder / "labels.npy", to_bricks(labels[None]))
    np.save(case.folder / "foreground.npy", foreground_index(labels, None))
    geometry = Geometry(((0, 1), (1, 1), (2, 1)), size, (0, 0, 0), size, SPACING, size)
    write_json(case.folder / "geometry.json", geometry.to_dict())
    return case


if __name__ == "__main__":
    main()
