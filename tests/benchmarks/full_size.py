"""Full-size CT: train in two stages on generated scans, then time predictions of held-out ones.

python -m tests.benchmarks.full_size /tmp/full_size

Writes 8 scans of 400x512x512 voxels (about 1 GB, ten minutes), trains, and prints seconds and memory of each
prediction and the labelled voxels outside the region that the first stage found. Further arguments are
overrides, such as plan.minutes=10. Linux and macOS only.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app import Segmenter, run
from app.data.prepare.geometry import network_view
from app.io.volumes import read_volume

CASES = 8
SIZE = (512, 512, 400)  # (i, j, k)
SPACING_MM = (0.8, 0.8, 1.0)
ORGAN_MM, LESION_MM, LESIONS = 60.0, 8.0, 3
_AIR, _TISSUE, _ORGAN, _LESION, _NOISE = -1000, 40, 110, 60, 15  # Hounsfield units


def write_set(folder: Path) -> None:
    """Write the data set in Decathlon layout unless it is there: an organ of 60 mm with lesions of 8 mm."""
    if (folder / "dataset.json").is_file():
        return
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    affine = np.diag([*SPACING_MM, 1.0])
    names = [f"ct_{number:02d}.nii.gz" for number in range(CASES)]
    for number, name in enumerate(names):
        scan, labels = generate(np.random.default_rng(number))
        nib.save(nib.Nifti1Image(scan, affine), folder / "imagesTr" / name)
        nib.save(nib.Nifti1Image(labels, affine), folder / "labelsTr" / name)
    listed = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    facts = {
        "name": "full_size",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "organ", "2": "lesion"},
        "training": listed,
        "numTraining": len(listed),
        "test": [],
        "numTest": 0,
    }
    (folder / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")


def generate(random: np.random.Generator) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return a scan in Hounsfield units and its labels, both (i, j, k)."""
    size, mm = np.array(SIZE), np.array(SPACING_MM)
    middle = size / 2
    scan = np.full(SIZE, _AIR, dtype=np.int16)
    scan[_inside(middle, size * [0.42, 0.32, 2.0])] = _TISSUE
    labels = np.zeros(SIZE, dtype=np.uint8)
    organ = middle + random.uniform(-1, 1, 3) * [60, 40, 100]
    radius = ORGAN_MM / 2 / mm
    labels[_inside(organ, radius * random.uniform(0.85, 1.15, 3))] = 1
    for _ in range(LESIONS):
        labels[_inside(organ + random.uniform(-0.5, 0.5, 3) * radius, LESION_MM / 2 / mm)] = 2
    scan[labels == 1] = _ORGAN
    scan[labels == 2] = _LESION
    for layer in range(SIZE[2]):  # layer by layer, to hold little at a time
        scan[:, :, layer] += random.normal(0, _NOISE, SIZE[:2]).astype(np.int16)
    return scan, labels


def _inside(centre: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.bool_]:
    grids = np.ogrid[tuple(slice(0, n) for n in SIZE)]
    sides = zip(grids, centre, radius, strict=True)
    squares = [((grid - middle) / half).astype(np.float32) ** 2 for grid, middle, half in sides]
    inside: NDArray[np.bool_] = (squares[0] + squares[1] + squares[2]) <= 1
    return inside


def lost_voxels(segmenter: Segmenter, image: Path, label: Path) -> tuple[int, int]:
    """Return the labelled voxels outside the region of a scan, and all labelled ones."""
    geometry = segmenter.prepare(read_volume(image)).geometry
    labels = np.asarray(nib.load(label).dataobj)  # type: ignore[attr-defined]
    whole = replace(geometry, start=(0, 0, 0), stop=geometry.full)
    total, held = (int((network_view(labels[None], view) > 0).sum()) for view in (whole, geometry))
    return total - held, total


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    import resource  # Windows has no such module

    place, overrides = Path(arguments[0]), arguments[1:]
    data, trained = place / "Task99_FullSize", place / "run"
    write_set(data)
    paths = [f"paths.cache={place / 'cache'}", f"paths.run={trained}"]
    if not (trained / "summary.json").is_file():
        run("task=decathlon", f"task.folder={data}", *paths, *overrides)
    summary = json.loads((trained / "summary.json").read_text(encoding="utf-8"))
    print(f"mean Dice {summary['mean_dice']:.4f} after {summary['steps']} steps")
    segmenter = Segmenter.load(trained)
    for case in json.loads((trained / "split.json").read_text(encoding="utf-8"))["validation"]:
        image, label = (data / part / f"{case}.nii.gz" for part in ("imagesTr", "labelsTr"))
        missed, total = lost_voxels(segmenter, image, label)
        started = time.perf_counter()
        command = [f"predict.model={trained}", f"predict.input={image}", f"predict.output={place / case}"]
        subprocess.run([sys.executable, "run.py", "mode=predict", *command], check=True, capture_output=True)
        spent = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9  # the largest so far
        print(f"{case}: {spent:.0f} s with the start, {peak:.2f} GB, {missed} of {total} voxels lost")


if __name__ == "__main__":
    main(sys.argv[1:])
