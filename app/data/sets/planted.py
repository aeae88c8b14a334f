"""Volumes for which the best kernels are known: rods or plates along chosen axes, in strong noise.

Along a planted axis the label is constant; across it every voxel is drawn independently. Only taps along
planted axes can therefore separate label from noise, which makes it possible to check a search for kernels.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from app.core.errors import InputError
from app.core.nested import as_lists
from app.core.types import Size
from app.data.sets.generated import Drawn, generate

_GREY = 100  # grey values of one standard deviation of the noise
_BACKGROUND = 1000


@dataclass(frozen=True)
class PlantedSettings:
    """The settings of a data set of planted rods or plates."""

    cases: int
    seed: int
    size: Size
    """Voxels (D, H, W), each 1 mm long."""
    axes: tuple[int, ...]
    """Axes of (D, H, W) along which labels are constant: one axis gives rods, two give plates."""
    share: float
    """Share of voxels that are labelled."""
    contrast: float
    """Difference between label and background, in standard deviations of the noise."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.cases < 1 or self.seed < 0 or min(self.size) < 1:
            raise InputError(f"task.planted: got {self}, wanted at least 1 case, seed 0 and 1 voxel per axis")
        if len(self.axes) not in (1, 2) or not set(self.axes) <= {0, 1, 2}:
            raise InputError(f"task.planted.axes: got {list(self.axes)}, wanted one or two of 0, 1, 2")
        if not 0 < self.share < 1:
            raise InputError(f"task.planted.share: got {self.share}, wanted between 0 and 1")


def generate_planted(folder: Path, *, settings: PlantedSettings) -> None:
    """Write the data set, completely or not at all; keep an existing one of the same settings.

    Raises:
        InputError: the folder holds other files, or a data set of other settings.
    """
    dataset = {
        "name": "planted",
        "description": "Rods or plates of random places in noise",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "rod" if len(settings.axes) == 1 else "plate"},
    }
    cases = [partial(_draw_case, index, settings) for index in range(settings.cases)]
    generate(folder, facts=as_lists(asdict(settings)), dataset=dataset, cases=cases)


def _draw_case(index: int, settings: PlantedSettings) -> Drawn:
    generator = np.random.default_rng([settings.seed, index])
    across = [1 if axis in settings.axes else voxels for axis, voxels in enumerate(settings.size)]
    labels = np.broadcast_to(generator.random(across) < settings.share, settings.size).T  # (W, H, D)
    signal = settings.contrast * labels + generator.standard_normal(labels.shape)
    grey = np.rint(_BACKGROUND + _GREY * signal).astype(np.int16)
    image, label = (nib.Nifti1Image(array, np.eye(4)) for array in (grey, labels.astype(np.uint8)))
    return image, label
