"""Generated data sets that look to the application like the ten tasks of the Medical Segmentation Decathlon.

Modalities, channels, labels and spacings are the tasks' own (Simpson et al. 2019, Antonelli et al. 2022);
sizes are their typical ones, divided."""

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

MR = ("FLAIR", "T1w", "t1gd", "T2w")


@dataclass(frozen=True)
class StandIn:
    """Facts of a task: spacing and size are along (i, j, k), as in its files."""

    folder: str
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    spacing: tuple[float, float, float]
    size: tuple[int, int, int]


STAND_INS = {
    "braintumour": StandIn(
        "Task01_BrainTumour",
        MR,
        ("edema", "non-enhancing tumor", "enhancing tumour"),
        (1.0, 1.0, 1.0),
        (240, 240, 155),
    ),
    "heart": StandIn("Task02_Heart", ("MRI",), ("left atrium",), (1.25, 1.25, 1.37), (320, 320, 115)),
    "liver": StandIn("Task03_Liver", ("CT",), ("liver", "cancer"), (0.77, 0.77, 1.0), (512, 512, 432)),
    "hippocampus": StandIn(
        "Task04_Hippocampus", ("MRI",), ("Anterior", "Posterior"), (1.0, 1.0, 1.0), (35, 50, 35)
    ),
    "prostate": StandIn("Task05_Prostate", ("T2", "ADC"), ("PZ", "TZ"), (0.62, 0.62, 3.6), (320, 320, 20)),
    "lung": StandIn("Task06_Lung", ("CT",), ("cancer",), (0.79, 0.79, 1.24), (512, 512, 252)),
    "pancreas": StandIn("Task07_Pancreas", ("CT",), ("pancreas", "cancer"), (0.8, 0.8, 2.5), (512, 512, 93)),
    "hepaticvessel": StandIn(
        "Task08_HepaticVessel", ("CT",), ("Vessel", "Tumour"), (0.8, 0.8, 5.0), (512, 512, 49)
    ),
    "spleen": StandIn("Task09_Spleen", ("CT",), ("spleen",), (0.79, 0.79, 5.0), (512, 512, 90)),
    "colon": StandIn("Task10_Colon", ("CT",), ("colon cancer primaries",), (0.78, 0.78, 5.0), (512, 512, 95)),
}


def write_stand_in(parent: Path, facts: StandIn, *, cases: int) -> Path:
    """Write the data set below `parent`; a plane of 512 becomes 64, never fewer than 12 voxels a side."""
    folder = parent / facts.folder
    shrink = max(1.0, max(facts.size) / 64)
    size = tuple(max(12, round(n / shrink)) for n in facts.size)
    entries = []
    for number in range(1, cases + 1):
        image, label = _draw(size, facts, seed=number)
        entry = {kind: f"./{kind}sTr/case_{number:03d}.nii.gz" for kind in ("image", "label")}
        for kind, voxels in (("image", image), ("label", label)):
            (folder / entry[kind]).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.diag([*facts.spacing, 1.0])), folder / entry[kind])
        entries.append(entry)
    described = {
        "modality": {str(index): name for index, name in enumerate(facts.modalities)},
        "labels": {str(index): name for index, name in enumerate(("background", *facts.labels))},
        "training": entries,
    }
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


def _draw(size: tuple[int, ...], facts: StandIn, seed: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Nested balls, each label inside the one before; a CT has air of -1000 around tissue of 50."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    radius = np.sqrt(
        sum((axis - shift) ** 2 for axis, shift in zip(grid, rng.uniform(-0.2, 0.2, 3), strict=True))
    )
    label = np.zeros(size, dtype=np.uint8)
    for value in range(1, len(facts.labels) + 1):
        label[radius < 0.7 / value] = value
    body = radius < 1.2
    channels = []
    for modality in facts.modalities:
        tissue = rng.normal(50, 15, size) + 60 * label
        channels.append(np.where(body, tissue, -1000 if modality == "CT" else 0))
    image = np.stack(channels, axis=-1).astype(np.int16)
    return (image if len(channels) > 1 else image[..., 0]), label
