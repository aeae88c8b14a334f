"""A generated data set in the layout of the Medical Segmentation Decathlon, for training without a download.

Each case is a generated patient (`phantom_anatomy`) in a scanner with its own grid, orientation and
artefacts.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from app.core.errors import InputError
from app.core.nested import as_lists
from app.core.types import Size, Spacing
from app.data.sets.generated import generate
from app.data.sets.phantom_anatomy import LABELS, draw_patient, picture
from app.data.sets.phantom_shapes import Field, Waves

_DRAWING = 1
"""Version of the drawing code; raise it whenever the same settings give other voxels."""

_ORIENTATIONS = ("RAS", "LPS", "ASL", "LAS", "RAS", "SPR", "LPS", "PIR")
_OBLIQUE_EVERY = 6
_SMALLEST = 16


@dataclass(frozen=True)
class PhantomSettings:
    """The settings of a generated data set.

    cases: number of labelled cases.
    seed: other seeds give other patients and scanners.
    size: voxels of a typical scan (D, H, W), D along the body; cases differ from it by up to about a quarter.
    spacing: voxel size of a typical scan, (D, H, W) in mm; cases differ from it by up to a quarter. The
        patients are as large as the typical field of view.
    """

    cases: int
    seed: int
    size: Size
    spacing: Spacing

    def __post_init__(self) -> None:
        """Validate values."""
        if self.cases < 1 or self.seed < 0:
            raise InputError(
                f"task.phantom: got {self.cases} cases and seed {self.seed}, wanted at least 1 and 0"
            )
        if len(self.size) != 3 or min(self.size) < _SMALLEST:
            raise InputError(
                f"task.phantom.size: got {self.size}, wanted three numbers of at least {_SMALLEST} voxels"
            )
        if len(self.spacing) != 3 or min(self.spacing) <= 0:
            raise InputError(f"task.phantom.spacing: got {self.spacing}, wanted three positive numbers of mm")


@dataclass(frozen=True)
class _Scanner:
    """The scanner of one case; `affine` maps voxels of a grid (R, A, S) of `shape` to millimetres."""

    shape: Size
    affine: NDArray[np.float64]
    orientation: str
    blur: NDArray[np.float64]
    bias: Waves
    noise: float
    gain: float


def generate_phantom(folder: Path, *, settings: PhantomSettings) -> None:
    """Write the data set, completely or not at all; keep an existing one of the same settings.

    Raises:
        InputError: the folder holds other files, or a data set of other settings.
    """
    facts = {"drawing": _DRAWING, **as_lists(asdict(settings))}
    cases = [partial(_draw_case, index, settings) for index in range(settings.cases)]
    generate(folder, facts=facts, dataset=_dataset(), cases=cases)


def _dataset() -> dict[str, Any]:
    return {
        "name": "phantom",
        "description": "Made-up torsos with an organ, its vessels and its lesions; no patient was scanned",
        "modality": {"0": "MRI"},
        "labels": {str(value): name for value, name in enumerate(LABELS)},
    }


def _draw_case(index: int, settings: PhantomSettings) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    generator = np.random.default_rng([settings.seed, index])
    patient = draw_patient(generator)
    scanner = _draw_scanner(generator, index, settings)
    points = _points(scanner, settings)
    clean, labels = picture(patient, points, edge=2 / max(settings.size))
    return _oriented(_scan(clean, points, scanner, generator), scanner), _oriented(labels, scanner)


def _draw_scanner(generator: np.random.Generator, index: int, settings: PhantomSettings) -> _Scanner:
    usual_mm = np.array(settings.spacing[::-1])  # (R, A, S), as all arrays below
    spacing = usual_mm * np.array([1, 1, 0]) * generator.uniform(0.9, 1.1)
    spacing[2] = usual_mm[2] * generator.uniform(0.75, 1.25)
    shape = np.rint(usual_mm * settings.size[::-1] * generator.uniform(0.94, 1.08, 3) / spacing).astype(int)
    tilt = generator.normal(0, 8, 3) if index % _OBLIQUE_EVERY == _OBLIQUE_EVERY - 2 else np.zeros(3)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() * spacing
    middle_mm = generator.normal(0, 0.04, 3) * usual_mm * settings.size[::-1]
    affine[:3, 3] = middle_mm - affine[:3, :3] @ ((shape - 1) / 2)
    return _Scanner(
        shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        affine=affine,
        orientation=_ORIENTATIONS[index % len(_ORIENTATIONS)],
        blur=generator.uniform(0.35, 0.65, 3),
        bias=Waves.draw(generator, wavelengths=(2.0, 4.0), size=0.12),
        noise=generator.uniform(0.02, 0.04),
        gain=generator.uniform(300, 900),
    )


def _points(scanner: _Scanner, settings: PhantomSettings) -> Field:
    """Return the positions of voxels in the patient (3, R, A, S), in halves of the typical field of view."""
    half_mm = np.array(settings.size[::-1]) * settings.spacing[::-1] / 2
    to_patient = scanner.affine[:3] / half_mm[:, np.newaxis]
    grid = np.indices(scanner.shape, dtype=np.float32).reshape(3, -1)
    points: Field = to_patient[:, :3].astype(np.float32) @ grid + to_patient[:, 3:].astype(np.float32)
    return points.reshape(3, *scanner.shape)


def _scan(
    clean: Field, points: Field, scanner: _Scanner, generator: np.random.Generator
) -> NDArray[np.int16]:
    """Return the image with blur, uneven coil sensitivity and Rician noise, as whole numbers."""
    signal = gaussian_filter(clean, scanner.blur) * np.exp(scanner.bias.at(points)[0])
    noise = generator.standard_normal((2, *signal.shape), np.float32) * np.float32(scanner.noise)
    magnitude: Field = np.hypot(signal + noise[0], noise[1])
    voxels: NDArray[np.int16] = np.rint(magnitude * scanner.gain).astype(np.int16)
    return voxels


def _oriented(array: NDArray[Any], scanner: _Scanner) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, scanner.affine)
    image.header.set_xyzt_units("mm")
    wanted = nib.orientations.axcodes2ornt(scanner.orientation)
    return image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted))
