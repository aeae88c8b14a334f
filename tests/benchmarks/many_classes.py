"""A generated set of many classes through check, plan, training, prediction and evaluation, by command.

python -m tests.benchmarks.many_classes --classes 3 117 --voxels 256
Seconds of each command, the most memory it held, and seconds of its steps for each case. The network is small
and takes few steps: what is measured is everything around it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from scipy import ndimage

SMALL = (
    *("plan.spacing=[3,3,3]", "plan.patch=[48,48,48]", "plan.base_width=8", "plan.max_levels=4"),
    *("plan.stages=1", "train.steps=16", "train.epoch_steps=16", "optimizer.lr=0.01", "folds=2"),
    *("sliding=fast", "sliding.mirror_axes=[]"),
)
SPACING_MM = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[3, 117])
    parser.add_argument("--voxels", type=int, default=256, help="along each axis of a scan")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--large", type=int, default=0, help="slices of a scan to predict too, in 6 GB")
    chosen = parser.parse_args()
    table = Table("command", *(f"{n} classes: s, GB" for n in chosen.classes), "times")
    with tempfile.TemporaryDirectory() as folder:
        columns = [
            _commands(Path(folder) / str(n), n, chosen.voxels, chosen.cases, chosen.large)
            for n in chosen.classes
        ]
    for name in columns[0]:
        cells = [column[name] for column in columns]
        ratio = cells[-1][0] / max(cells[0][0], 1e-9)
        table.add_row(name, *(f"{seconds:.1f}, {gb:.1f}" for seconds, gb in cells), f"{ratio:.2f}")
    Console(width=120).print(table)


def _commands(
    folder: Path, classes: int, voxels: int, cases: int, large: int
) -> dict[str, tuple[float, float]]:
    """Seconds and gigabytes by command."""
    data = write_set(folder / "Task98_Many", classes=classes, voxels=voxels, cases=cases)
    common = ["task=decathlon", f"task.folder={data}", f"paths.cache={folder / 'cache'}", *SMALL]
    run, found = folder / "run", {}
    lines = {
        "check": ["mode=check", f"paths.run={folder / 'check'}"],
        "plan": ["mode=plan", f"paths.run={folder / 'plan'}"],
        "train": [f"paths.run={run}"],
        "predict": [
            *("mode=predict", f"predict.model={run}", f"predict.input={data / 'imagesTr'}"),
            f"predict.output={folder / 'out'}",
        ],
        "evaluate": [
            *("mode=evaluate", f"evaluate.predictions={moved(data)}"),
            *(f"evaluate.labels={data / 'labelsTr'}", f"evaluate.output={folder / 'scores'}"),
        ],
    }
    for name, line in lines.items():
        found[name] = _measured([*line, *common])
        print(classes, name, *found[name], flush=True)
    if large:
        write_scan(folder / "large.nii", slices=large)
        line = ["mode=predict", f"predict.model={run}", f"predict.input={folder / 'large.nii'}"]
        found[f"predict 512x512x{large}"] = _measured(
            [*line, f"predict.output={folder / 'large'}", "predict.memory_gb=6", *common]
        )
        print(classes, large, *found[f"predict 512x512x{large}"], flush=True)
    manifest = json.loads((folder / "out" / "manifest.json").read_text(encoding="utf-8"))
    seconds = [case["seconds"] for case in manifest["cases"].values()]
    for step in seconds[0]:
        found[f"predict: {step}, a case"] = (sum(case[step] for case in seconds) / len(seconds), 0.0)
    return found


def _measured(words: Sequence[str]) -> tuple[float, float]:
    """Processor seconds of a command, and the most memory it held in GB."""
    process = subprocess.Popen(
        [sys.executable, "run.py", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watched, most, spent = psutil.Process(process.pid), 0, 0.0
    log = Path(tempfile.gettempdir()) / f"many_classes_{os.getpid()}.log"
    while process.poll() is None:
        try:
            most = max(most, watched.memory_info().rss)
            spent = sum(watched.cpu_times()[:2])
        except psutil.Error:
            break
        time.sleep(0.2)
    text = process.communicate()[0]
    log.write_text(text, encoding="utf-8")
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}\n{text[-3000:]}")
    return spent, most / 1e9


def write_set(folder: Path, *, classes: int, voxels: int, cases: int) -> Path:
    """Write scans of ellipsoids, one per foreground class, on a jittered grid inside a body."""
    side = int(np.ceil((classes - 1) ** (1 / 3)))
    entries = []
    for number in range(cases):
        rng = np.random.default_rng(number)
        labels = np.zeros((voxels,) * 3, dtype=np.uint8)
        cell = 0.8 * voxels / side
        for value, place in enumerate(list(np.ndindex(side, side, side))[: classes - 1], start=1):
            centre = [0.1 * voxels + (index + 0.5) * cell + rng.uniform(-0.1, 0.1) * cell for index in place]
            _draw(labels, value, centre, rng.uniform(0.25, 0.45, 3) * cell)
        image = ndimage.gaussian_filter(rng.normal(0, 60, labels.shape).astype(np.float32), 1)
        image += np.where(labels > 0, 40 + 200 * ((labels * 37) % 101) / 101, 0)
        edge = voxels // 16
        body = np.zeros(labels.shape, dtype=bool)
        body[edge:-edge, edge:-edge, edge:-edge] = True
        image[~body] = -1000
        entry = {kind: f"./{kind}sTr/case_{number:03d}.nii" for kind in ("image", "label")}
        for kind, array in (("image", image.astype(np.int16)), ("label", labels)):
            path = folder / entry[kind]
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.diag([SPACING_MM] * 3 + [1.0])), path)
        entries.append(entry)
    names = {"0": "background", **{str(value): f"organ {value}" for value in range(1, classes)}}
    facts = {"modality": {"0": "CT"}, "labels": names, "numTraining": cases, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def moved(data: Path) -> Path:
    """A folder of a set's label maps, two voxels off, in place of what a well-trained network predicts."""
    folder = data.parent / "moved"
    folder.mkdir(exist_ok=True)
    for path in sorted((data / "labelsTr").iterdir()):
        image = nib.load(path)
        nib.save(
            nib.Nifti1Image(np.roll(np.asarray(image.dataobj), 2, axis=0), image.affine), folder / path.name
        )
    return folder


def write_scan(path: Path, *, slices: int) -> None:
    """Write a scan of 512x512 voxels a slice: a body of noise in air."""
    rng = np.random.default_rng(0)
    image = np.full((512, 512, slices), -1000, dtype=np.int16)
    body = rng.normal(60, 60, (384, 288, 64)).astype(np.int16)
    for first in range(slices // 10, slices - slices // 10, 64):
        part = image[64:448, 112:400, first : first + 64]
        part[:] = body[..., : part.shape[2]]
    nib.save(nib.Nifti1Image(image, np.diag([0.8, 0.8, 0.8, 1.0])), path)


def _draw(labels: np.ndarray, value: int, centre: Sequence[float], radii: np.ndarray) -> None:
    """An ellipsoid."""
    ends = [
        (max(0, int(middle - radius)), min(extent, int(middle + radius) + 2))
        for middle, radius, extent in zip(centre, radii, labels.shape, strict=True)
    ]
    grids = np.meshgrid(*(np.arange(*side) for side in ends), indexing="ij")
    parts = zip(grids, centre, radii, strict=True)
    inside = sum(((grid - middle) / radius) ** 2 for grid, middle, radius in parts) < 1
    labels[tuple(slice(*side) for side in ends)][inside] = value


if __name__ == "__main__":
    main()
