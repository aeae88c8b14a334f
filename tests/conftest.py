"""Small real data sets, written to disk the way users have them."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

MakeTask = Callable[..., Path]
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
TINY = (
    *("task=decathlon", "train=smoke", "plan.patch=[16,16,16]", "plan.base_width=4", "plan.max_levels=2"),
    *("infer=fast", "augment=none", "threads=1", "folds=2"),
)
"""Settings by which a run on `make_task`'s data takes a second."""


@contextmanager
def no_room(size: int = 0) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """A function that writes a Decathlon folder of blobs brighter than their noisy surroundings."""

    def make(
        *,
        cases: int = 5,
        shape: tuple[int, int, int] = (19, 22, 17),
        channels: int = 1,
        affine: NDArray[np.float64] | None = None,
        modality: str = "MRI",
        name: str = "Task90_Blobs",
    ) -> Path:
        folder = tmp_path / name
        entries = []
        for number in range(1, cases + 1):
            image, label = draw_blob(shape, channels, seed=number)
            entry = {kind: f"./{kind}sTr/blob_{number:03d}.nii.gz" for kind in ("image", "label")}
            for kind, voxels in (("image", image), ("label", label)):
                path = folder / entry[kind]
                path.parent.mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
            entries.append(entry)
        facts = {
            "modality": {str(channel): modality for channel in range(channels)},
            "labels": {"0": "background", "1": "blob"},
            "training": entries,
        }
        (folder / "dataset.json").write_text(json.dumps(facts))
        return folder

    return make


def draw_blob(
    shape: tuple[int, int, int], channels: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """An image (i, j, k) or (i, j, k, C) and its label map."""
    rng = np.random.default_rng(seed)
    centre = [rng.uniform(0.4, 0.6) * n for n in shape]
    grid = np.meshgrid(*map(np.arange, shape), indexing="ij")
    distance = sum(((axis - middle) / 5) ** 2 for axis, middle in zip(grid, centre, strict=True))
    label = (distance < 1).astype(np.uint8)
    image = 100 * label[..., None] + rng.normal(50, 20, (*shape, channels))
    return (image if channels > 1 else image[..., 0]).astype(np.float32), label
