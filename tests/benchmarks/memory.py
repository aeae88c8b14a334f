"""Peak memory and time of one large CT with many classes: slab by slab, and with everything held at once.

python -m tests.benchmarks.memory                       512x512x600 voxels, 21 classes; some minutes
python -m tests.benchmarks.memory --size 300 256 256    smaller
Each method runs in a process of its own with a network of random weights, from reading the file to writing
the label map; the table gives the most memory the process ever held, and how many labels differ.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.inferers.inferer import SlidingWindowInferer
from scipy.ndimage import zoom

from app.core.machine import peak_bytes
from app.core.plan import Normalisation, Plan
from app.core.types import as_size
from app.data.prepare.geometry import network_view
from app.data.prepare.prepare import prepare
from app.infer.batch.manifest import Manifest
from app.infer.batch.outputs import OutputSettings
from app.infer.batch.predict import predict_scans
from app.infer.scan.segmenter import Segmenter
from app.infer.window.sliding import SlidingSettings, fit_windows
from app.io.volumes import read_volume
from app.models.checkpoint import Checkpoint
from app.models.model import Shape
from app.models.network import design
from app.models.unet import UNetModel
from app.operators.plain import Conv3d

CLASSES = 21
SLIDING = SlidingSettings(overlap=0.25, windows=1, mirror_axes=())
PLAN = Plan(
    spacing=(1.0, 0.9, 0.9),  # the scan's is 1.0, 0.8, 0.8: it is resampled both ways
    patch=(96, 96, 96),
    batch=1,
    widths=(4, 8, 16),
    strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
    kernels=((3, 3, 3),) * 3,
    normalisation=(Normalisation("ct", -1000.0, 1000.0, 0.0, 400.0),),
    foreground_share=0.33,
    steps=2000,
)


def main() -> None:
    """Make the scan, run both methods, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=3, default=[600, 512, 512], help="slices, rows, columns")
    parser.add_argument("--methods", nargs="+", default=["streaming", "plain"], choices=list(METHODS))
    parser.add_argument("--memory-gb", type=float, default=None, help="predict.memory_gb of streaming")
    parser.add_argument("--folder", type=Path, help="of scan and label maps; a temporary one by default")
    parser.add_argument("--run", choices=list(METHODS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(measure(options.run, options.folder, options.memory_gb)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        write_ct(folder / "scan.nii", options.size)
        for method in options.methods:
            limit = ["--memory-gb", str(options.memory_gb)] if options.memory_gb else []
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.memory",
                "--run",
                method,
                "--folder",
                str(folder),
                *limit,
            ]
            facts = json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
            )
            print(f"{method:10s} peak {facts['peak_gb']:.2f} GB, {facts['seconds']:.0f} s", flush=True)
        maps = [np.asarray(nib.load(folder / method / "scan.nii.gz").dataobj) for method in options.methods]
        for method, labels in zip(options.methods, maps, strict=True):
            print(f"{method:10s} holds {len(np.unique(labels))} of {CLASSES} labels")
        if len(maps) == 2:
            print(f"labels that differ: {(maps[0] != maps[1]).mean():.2e} of {maps[0].size} voxels")


def write_ct(path: Path, size: list[int]) -> None:
    """Smooth random tissue in Hounsfield units, (i, j, k) = (R, A, S)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(0).normal(0, 500, [max(2, n // 25) for n in reversed(size)])
    factors = [n / c for n, c in zip(reversed(size), coarse.shape, strict=True)]
    voxels = zoom(coarse.astype(np.float32), factors, order=1).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([0.8, 0.8, 1.0, 1.0])), path)


def measure(method: str, folder: Path, memory_gb: float | None) -> dict[str, float]:
    """Run one method in this process."""
    torch.set_num_threads(2)
    started = time.perf_counter()
    METHODS[method](folder, memory_gb)
    return {"peak_gb": peak_bytes() / 1e9, "seconds": time.perf_counter() - started}


def checkpoint() -> Checkpoint:
    """Random weights, the same in every process."""
    torch.manual_seed(0)
    spec = design(UNetModel("plain", 1, 1, False), Shape(1, CLASSES, PLAN.widths, PLAN.strides, PLAN.kernels),
                  Conv3d(), None)  # fmt: skip
    labels = tuple(f"label {value}" for value in range(CLASSES))
    return Checkpoint(spec, PLAN, ("CT",), labels, spec.build().state_dict(), None, {})


def streaming(folder: Path, memory_gb: float | None) -> None:
    """As `mode=predict` does it."""
    made = Segmenter.from_checkpoint(checkpoint(), sliding=SLIDING, device=torch.device("cpu"))
    segmenter = Segmenter(made.members, made.plans, made.modalities, made.labels, SLIDING, memory_gb)
    output = folder / "streaming"
    settings = OutputSettings("nii.gz", probabilities=False, entropy=False, overwrite=True)
    done = predict_scans(segmenter, [folder / "scan.nii"], output, settings, Manifest(output, {}))
    assert not done.failed, done.failed


def plain(folder: Path, memory_gb: float | None) -> None:
    """MONAI's inferer holds the logits of all classes; each is then resampled to the scan's own grid."""
    network = checkpoint().trained_network().to(memory_format=torch.channels_last_3d)
    volume = read_volume(folder / "scan.nii")
    prepared = prepare(volume, None, PLAN)
    image = torch.from_numpy(prepared.image)[None]
    window = fit_windows(as_size(image.shape[2:]), [PLAN], SLIDING).size
    inferer = SlidingWindowInferer(window, 1, SLIDING.overlap, mode="gaussian", sigma_scale=0.125)
    with torch.inference_mode():
        logits = inferer(image, lambda x: network(x.contiguous(memory_format=torch.channels_last_3d)))[0]
        best, labels = _resample(logits[0], prepared.geometry.cropped), None
        labels = torch.zeros_like(best, dtype=torch.uint8)
        for value in range(1, CLASSES):
            other = _resample(logits[value], prepared.geometry.cropped)
            labels[other > best] = value
            best = torch.maximum(best, other)
    restored = np.zeros((1, *prepared.geometry.scan), dtype=np.uint8)
    network_view(restored, prepared.geometry)[0] = labels.numpy()
    (folder / "plain").mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(restored[0], volume.affine), folder / "plain" / "scan.nii.gz")


def _resample(channel: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(channel[None, None], size=size, mode="trilinear")[0, 0]


METHODS = {"streaming": streaming, "plain": plain}

if __name__ == "__main__":
    main()
