"""The files that a segmentation becomes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.core.errors import InputError
from app.core.reading import Reading
from app.core.types import Size
from app.infer.batch.dicom_seg import write_dicom_seg
from app.infer.batch.dicom_sources import scan_frames
from app.infer.batch.rtstruct import write_rtstruct
from app.infer.scan.mapped import on_disk
from app.infer.scan.segmentation import Arrays
from app.io.label_values import class_type
from app.io.volumes import write_label_map, write_voxels

FORMATS = {
    "nii.gz": ".nii.gz",
    "nrrd": ".nrrd",
    "mha": ".mha",
    "dicom": ".dcm",
    "rtstruct": ".rtstruct.dcm",
}
DICOM = {"dicom": write_dicom_seg, "rtstruct": write_rtstruct}
"""What writes the DICOM formats."""


@dataclass(frozen=True)
class OutputSettings:
    """What is written of each scan."""

    format: str
    """The format of label maps: nii.gz, nrrd or mha; of a DICOM series dicom (segmentation) or rtstruct."""
    probabilities: bool
    """Also the probability of every class, in the subfolder probabilities, as NIfTI (i, j, k, class)."""
    entropy: bool
    """Also the entropy of the classes' probabilities in bits, in the subfolder entropy, as NIfTI."""
    overwrite: bool
    """False keeps label maps that are there already."""

    def __post_init__(self) -> None:
        """Validate the format."""
        if self.format not in FORMATS:
            raise InputError(f"predict.format: got {self.format!r}, wanted one of {', '.join(FORMATS)}")


@dataclass(frozen=True)
class Outputs:
    """Where the results of one scan go; None is not wanted."""

    labels: Path
    format: str
    probabilities: Path | None
    entropy: Path | None

    @classmethod
    def of(cls, case: str, folder: Path, settings: OutputSettings) -> "Outputs":
        """Files of a scan's name in the output folder."""
        return cls(
            labels=folder / f"{case}{FORMATS[settings.format]}",
            format=settings.format,
            probabilities=folder / "probabilities" / f"{case}.nii.gz" if settings.probabilities else None,
            entropy=folder / "entropy" / f"{case}.nii.gz" if settings.entropy else None,
        )

    @property
    def lacks_volumes(self) -> bool:
        """Whether probabilities or entropy are wanted and not there."""
        wanted = (self.probabilities, self.entropy)
        return any(path is not None and not path.is_file() for path in wanted)

    def arrays(self, size: Size, classes: int) -> Arrays:
        """Empty arrays for a scan of `size` (i, j, k); numbers for every voxel and class are kept on disk."""
        probabilities = (
            None if self.probabilities is None else on_disk((classes, *size), self.probabilities.parent)
        )
        entropy = None if self.entropy is None else on_disk(size, self.entropy.parent)
        return Arrays(np.zeros(size, dtype=class_type(classes)), probabilities, entropy)

    def write(
        self, arrays: Arrays, scan: Path, names: tuple[str, ...], values: tuple[int, ...], reading: Reading
    ) -> None:
        """Write what is wanted, label maps last: where they are, everything is.

        Raises:
            InputError: a DICOM object is wanted that cannot be made of this scan.
        """
        if self.probabilities is not None and arrays.probabilities is not None:
            write_voxels(self.probabilities, np.moveaxis(arrays.probabilities, 0, -1), scan, reading)
        if self.entropy is not None and arrays.entropy is not None:
            write_voxels(self.entropy, arrays.entropy, scan, reading)
        if self.format in DICOM:
            DICOM[self.format](self.labels, arrays.labels, names, scan_frames(scan, reading))
        else:
            write_label_map(self.labels, arrays.labels, values, scan, reading)
