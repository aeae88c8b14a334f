"""Small real data sets, written to disk the way users have them."""

import json
import os
from pathlib import Path

# Before torch starts its threads: waiting threads that spin would hold up other processes on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.cli.shell.command_line import find_plugins
from tests.support.volumes import MakeTask, draw_blob

find_plugins()  # before the first test lets Hydra look for them: it looks once per process


@pytest.fixture(autouse=True)
def _threads() -> None:
    """Two, or one where the tests themselves run in several processes."""
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


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
