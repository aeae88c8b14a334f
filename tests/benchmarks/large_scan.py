"""Prediction of a large CT on its own grid: seconds and the most memory, with and without a limit.

python -m tests.benchmarks.large_scan --classes 21 117 --slices 800
Each row is a process of its own. The network is tiny and untrained: what is measured is everything around it.
"unbounded" holds the logits of a whole layer of windows, "free memory" is predict.memory_gb=null.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from app.core.machine import keep_freed_memory, peak_bytes
from app.core.plan import Normalisation
from app.infer.engines.eager import EagerEngine
from app.infer.scan.segmenter import Segmenter
from app.infer.window.sliding import SlidingSettings
from app.io.volumes import Volume
from app.models.model import Shape
from app.models.network import design, to_device
from app.models.unet import UNetModel
from app.operators.plain import Conv3d
from tests.support.config import CUBES

SPACING_MM = 0.8
LIMITS = {"unbounded": 1000.0, "6 GB": 6.0, "free memory": None}
PATCH = (48, 64, 64)
CT = Normalisation("ct", -100, 200, 60, 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[21, 117])
    parser.add_argument("--slices", type=int, default=800, help="of 512x512 voxels")
    parser.add_argument("--limits", nargs="+", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--one", action="store_true", help="one row, in this process")
    chosen = parser.parse_args()
    if chosen.one:
        print(*predict(chosen.classes[0], chosen.slices, LIMITS[chosen.limits[0]]))
        return
    table = Table("classes", "limit", "seconds", "most memory, GB")
    for classes in chosen.classes:
        for limit in chosen.limits:
            words = ["--one", "--classes", str(classes), "--slices", str(chosen.slices), "--limits", limit]
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.large_scan", *words],
                check=False,
                capture_output=True,
                text=True,
            )
            found = done.stdout.split() or ["failed", done.stderr[-200:]]
            print(classes, limit, *found, flush=True)
            table.add_row(str(classes), limit, *found[:2])
    Console(width=100).print(table)


def predict(classes: int, slices: int, limit_gb: float | None) -> tuple[str, str]:
    """Processor seconds of segmenting a scan, and gigabytes at the peak."""
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plan = replace(CUBES, spacing=(SPACING_MM,) * 3, patch=PATCH, normalisation=(CT,))
    shape = Shape(1, classes, plan.widths, plan.strides, plan.kernels, plan.patch)
    spec = design(UNetModel("plain", 1, 1, False), shape, Conv3d(), None)
    network = to_device(spec.build(), torch.device("cpu"))
    segmenter = Segmenter(
        members=(EagerEngine(network),),
        plans=(plan,),
        modalities=("CT",),
        labels=tuple(f"label {value}" for value in range(classes)),
        sliding=SlidingSettings(overlap=0.25, windows=1, mirror_axes=(), skip_air=True),
        memory_gb=limit_gb,
    )
    volume = Volume(voxels=body(slices), affine=np.diag([SPACING_MM] * 3 + [1.0]))
    started = time.process_time()
    segmenter.classes(volume)
    return f"{time.process_time() - started:.0f}", f"{peak_bytes() / 1e9:.2f}"


def body(slices: int) -> np.ndarray:
    """A scan (1, i, j, k) of noise in air."""
    image = np.full((1, 512, 512, slices), -1000, dtype=np.float32)
    noise = np.random.default_rng(0).normal(60, 60, (384, 288, 64)).astype(np.float32)
    for first in range(slices // 10, slices - slices // 10, 64):
        part = image[0, 64:448, 112:400, first : min(first + 64, slices)]
        part[:] = noise[..., : part.shape[2]]
    return image


if __name__ == "__main__":
    main()
