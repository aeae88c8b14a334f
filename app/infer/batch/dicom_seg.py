"""A label map as a DICOM segmentation object that refers to the series it was made from (highdicom)."""

from pathlib import Path
from typing import Any

import numpy as np

from app.core.errors import InputError
from app.core.files import atomic_path
from app.core.optional import require
from app.core.types import Labels
from app.io.dicom import is_dicom_folder, slice_files

_SCHEME = "99LABEL"  # a private coding scheme: what a data set calls a label has no code of its own


def check_dicom_seg(scan: Path) -> None:
    """Raise InputError unless a segmentation object of this scan can be written."""
    require("predict.format=dicom", "highdicom", "pydicom")
    if not is_dicom_folder(scan):
        raise InputError(
            f"predict.format: got dicom, but {scan} is no DICOM series; choose nii.gz, nrrd or mha"
        )


def write_dicom_seg(path: Path, labels: Labels, names: tuple[str, ...], *, series: Path) -> None:
    """Write classes (i, j, k) of a series atomically; segment n is class n, found or not."""
    import highdicom
    import pydicom

    segment_type = np.uint8 if len(names) <= 256 else np.uint16
    segmentation = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in slice_files(series)],
        pixel_array=np.ascontiguousarray(labels.transpose(2, 1, 0), dtype=segment_type),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(value, name) for value, name in enumerate(names[1:], start=1)],
        series_instance_uid=highdicom.UID(),
        series_number=1000,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="3D medical image segmentation",
        manufacturer_model_name="app",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=bool(labels.any()),  # an object has at least one frame
    )
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)


def _describe(number: int, name: str) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=Code(name[:16], _SCHEME, name[:64]),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="Mixed-kernel 3D U-Net", version="1", family=codes.DCM.ArtificialIntelligence
        ),
    )
