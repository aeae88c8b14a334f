"""The output files of a prediction."""

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
"""Functions that write the DICOM formats."""


@dataclass(frozen=True)
class OutputSettings:
    """The settings that choose the output files of each scan."""

    format: str
    """Format of label maps: nii.gz, nrrd or mha; for DICOM series also dicom (segmentation) or rtstruct."""
    probabilities: bool
    """Whether to write the probability of every class to a subfolder, as NIfTI (i, j, k, class)."""
    entropy: bool
    """Whether to write the entropy of the probabilities, in bits, to a subfolder, as NIfTI (i, j, k)."""
    overwrite: bool
    """Whether existing label maps are replaced."""

    def __post_init__(self) -> None:
        """Validate the format."""
        if self.format not in FORMATS:
            raise InputError(f"predict.format: got {self.format!r}, wanted one of {', '.join(FORMATS)}")


@dataclass(frozen=True)
class Outputs:
    """The paths of the results of one scan; None for results that are not wanted."""

    labels: Path
    format: str
    probabilities: Path | None
    entropy: Path | None

    @classmethod
    def of(cls, case: str, folder: Path, settings: OutputSettings) -> "Outputs":
        """Return the output files with the scan's name in a folder."""
        return cls(
            labels=folder / f"{case}{FORMATS[settings.format]}",
            format=settings.format,
            probabilities=folder / "probabilities" / f"{case}.nii.gz" if settings.probabilities else None,
            entropy=folder / "entropy" / f"{case}.nii.gz" if settings.entropy else None,
        )

    @property
    def lacks_volumes(self) -> bool:
        """Whether probabilities or entropy are wanted but missing."""
        wanted = (self.probabilities, self.entropy)
        return any(path is not None and not path.is_file() for path in wanted)

    def arrays(self, size: Size, classes: int) -> Arrays:
        """Return arrays for the results of a scan of `size` (i, j, k).

        Probabilities and entropy are kept on disk.
        """
        probabilities = (
            None if self.probabilities is None else on_disk((classes, *size), self.probabilities.parent)
        )
        entropy = None if self.entropy is None else on_disk(size, self.entropy.parent)
        return Arrays(np.zeros(size, dtype=class_type(classes)), probabilities, entropy)

    def write(
        self, arrays: Arrays, scan: Path, names: tuple[str, ...], values: tuple[int, ...], reading: Reading
    ) -> None:
        """Write all wanted results, the label map last, so that its presence shows that all are complete.

        Raises:
            InputError: a DICOM format is wanted but cannot be written for this scan.
        """
        if self.probabilities is not None and arrays.probabilities is not None:
            write_voxels(self.probabilities, np.moveaxis(arrays.probabilities, 0, -1), scan, reading)
        if self.entropy is not None and arrays.entropy is not None:
            write_voxels(self.entropy, arrays.entropy, scan, reading)
        if self.format in DICOM:
            DICOM[self.format](self.labels, arrays.labels, names, scan_frames(scan, reading))
        else:
            write_label_map(self.labels, arrays.labels, values, scan, reading)
