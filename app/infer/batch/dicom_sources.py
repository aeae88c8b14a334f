"""The facts that DICOM segmentations and structure sets copy from the series they were made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.core.digest import digest_of
from app.core.errors import InputError
from app.core.reading import Reading
from app.io.dicom import frames_in_order
from app.io.dicom_files import Frame
from app.io.scan_paths import series_of

MANUFACTURER = "CakeSeg"
UTF_8 = "ISO_IR 192"
_LONGEST_NAME = 64  # most characters that DICOM allows
_PATIENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"),
)
"""Tags that every DICOM object must have, possibly empty; archives sort objects by them."""


def check_is_series(scan: Path, reading: Reading, wanted: str) -> None:
    """Raise InputError if a scan is not a DICOM series, so that the format `wanted` cannot be written."""
    if series_of(scan, reading) is None:
        raise InputError(
            f"predict.format: got {wanted}, but {scan} is not a DICOM series; choose nii.gz, nrrd or mha"
        )


def scan_frames(scan: Path, reading: Reading) -> tuple[Frame, ...]:
    """Return the slices of a scan's first channel, in the order of the voxels' last axis."""
    series = series_of(scan, reading)
    assert series is not None, "checked before the scan is read"
    return frames_in_order(series)


def read_sources(frames: Sequence[Frame]) -> list[Any]:
    """Return the DICOM data set of each slice, without pixels; frames of one file share it.

    Raises:
        InputError: a file has no FrameOfReferenceUID.
    """
    import pydicom

    paths = {frame.file for frame in frames}
    files = {file: pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in paths}
    for file, data in files.items():
        if not data.get("FrameOfReferenceUID"):
            raise InputError(
                f"{file}: got no FrameOfReferenceUID, so no DICOM object can refer to its voxels; "
                "choose nii.gz"
            )
        keep_patient(data, data)
        _share_groups(data)
    return [files[frame.file] for frame in frames]


def _share_groups(data: Any) -> None:
    """Copy spacing and orientation of a multi-frame file to its shared groups, from which highdicom reads.

    They are equal in all frames.
    """
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if shared is not None and name not in shared:
            setattr(shared, name, data.PerFrameFunctionalGroupsSequence[0][name].value)


def keep_patient(data: Any, source: Any) -> None:
    """Copy the tags of patient and study from `source` to a data set; missing tags become empty."""
    for name in _PATIENT:
        setattr(data, name, source.get(name, ""))
    data.StudyInstanceUID = source.StudyInstanceUID


def short_name(name: str) -> str:
    """Return a label's name, or its start with a digest if it is too long for DICOM."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{digest_of(name)[:8]}"
