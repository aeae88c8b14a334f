"""Multi-frame DICOM files (enhanced CT, MR and PET): geometry read by pydicom, voxels by SimpleITK.

GDCM, which SimpleITK uses, decodes every compressed syntax. But it uses the position and scale of the first
frame for all frames, so these are read from each frame's functional groups.
"""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.optional import require_packages
from app.io.decoding import decoding
from app.io.dicom_elements import find_pixels
from app.io.dicom_files import Frame
from app.io.faults import faults_named, last_line

_GREY_FRAMES = {8: "1.2.840.10008.5.1.4.1.1.7.2", 16: "1.2.840.10008.5.1.4.1.1.7.3"}
"""SOP classes of multi-frame secondary capture, an image without geometry, by bits per voxel."""
_PIXELS = (
    *("SamplesPerPixel", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelData"),
)


def read_data(path: Path, kind: str, **options: Any) -> Any:
    """Read a file with pydicom and hide its warnings about odd values.

    pydicom parses a value on first access, so code that accesses values must run inside `faults_named` too.
    `kind` names the kind of file in the error about a missing pydicom. The file may lack a preamble and meta
    information; then the transfer syntax is the one by which its elements could be read.

    Raises:
        InputError: pydicom is not installed, or the file is damaged.
    """
    require_packages(f"{path}: {kind} needs pydicom", "pydicom")
    import pydicom

    warnings.filterwarnings("ignore", module="pydicom")
    if find_pixels(path).deflated_from is not None:
        options.pop("defer_size", None)  # pydicom would look for deferred values in the compressed file
    with faults_named(path, "DICOM"):
        data = pydicom.dcmread(path, force=True, **options)
        if "TransferSyntaxUID" not in data.file_meta:  # neither preamble nor meta information
            data.file_meta.TransferSyntaxUID = _syntax(*data.original_encoding)
        return data


def _syntax(implicit: bool, little_endian: bool) -> str:
    """Return the transfer syntax of a file that does not name it, as pydicom has read its elements."""
    from pydicom import uid

    explicit = uid.ExplicitVRLittleEndian if little_endian else uid.ExplicitVRBigEndian
    return str(uid.ImplicitVRLittleEndian if implicit else explicit)


def read_frames(path: Path) -> list[Frame]:
    """Return all frames of a file, in file order.

    Raises:
        InputError: pydicom is not installed, the file is damaged, or frames have no position in space.
    """
    data = read_data(path, "multi-frame DICOM", stop_before_pixels=True)
    with faults_named(path, "DICOM"):
        return frames_of(path, data)


def frames_of(path: Path, data: Any) -> list[Frame]:
    """Return all frames of a file that pydicom has read as `data`, in file order.

    Raises:
        InputError: frames have no position in space.
    """
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    own = data.get("PerFrameFunctionalGroupsSequence") or []
    if len(own) != int(data.get("NumberOfFrames", 1)):
        raise InputError(
            f"{path}: got {data.get('NumberOfFrames', 1)} frames ({data.SOPClassUID.name}) without a "
            "position of each, wanted enhanced multi-frame CT, MR or PET, or one file per slice"
        )
    return [_frame(path, data, index, groups, shared) for index, groups in enumerate(own)]


def frame_voxels(frames: Sequence[Frame]) -> NDArray[np.float32]:
    """Return voxels (i, j, k) of frames in the given order, each with its own scale applied.

    Raises:
        InputError: a file is damaged, or its voxels do not have 8 or 16 bits.
    """
    stored = {}
    for file in dict.fromkeys(frame.file for frame in frames):
        with faults_named(file, "DICOM"):
            stored[file] = _stored(file)
    voxels = np.empty((*frames[0].size, len(frames)), dtype=np.float32)
    for k, frame in enumerate(frames):
        slope, intercept = frame.scale
        assert frame.index is not None
        with np.errstate(over="ignore", invalid="ignore"):  # values out of range become infinite
            voxels[:, :, k] = stored[frame.file][frame.index].T.astype(np.float64) * slope + intercept
    return voxels


def _frame(path: Path, data: Any, index: int, groups: Any, shared: Any) -> Frame:
    def item(sequence: str) -> Any:
        found = groups.get(sequence) or (shared.get(sequence) if shared is not None else None)
        return found[0] if found else {}

    place, turn = item("PlanePositionSequence"), item("PlaneOrientationSequence")
    measures, scale = item("PixelMeasuresSequence"), item("PixelValueTransformationSequence")
    position, axes, spacing = (
        source.get(key)
        for source, key in (
            (place, "ImagePositionPatient"),
            (turn, "ImageOrientationPatient"),
            (measures, "PixelSpacing"),
        )
    )
    if not (position and axes and spacing):
        raise InputError(f"{path}: frame {index + 1}: got no position, orientation or spacing in its header")
    thickness = measures.get("SliceThickness")
    return Frame(
        path,
        index,
        size=(int(data.Columns), int(data.Rows)),
        axes=tuple(map(float, axes)),
        spacing=(float(spacing[1]), float(spacing[0])),
        position=(float(position[0]), float(position[1]), float(position[2])),
        thickness_mm=float(thickness) if thickness else None,
        scale=(float(scale.get("RescaleSlope", 1)), float(scale.get("RescaleIntercept", 0))),
    )


def _stored(path: Path) -> NDArray[np.generic]:
    """Return stored values (frame, row, column), decoded from a copy without geometry and scale."""
    import pydicom

    data = read_data(path, "multi-frame DICOM")
    if int(data.BitsAllocated) not in _GREY_FRAMES or "PixelData" not in data:
        raise InputError(
            f"{path}: got voxels of {data.BitsAllocated} bits, wanted whole numbers of 8 or 16 bits"
        )
    bare = pydicom.Dataset()
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    bare.SOPClassUID, bare.SOPInstanceUID = _GREY_FRAMES[int(data.BitsAllocated)], data.SOPInstanceUID
    bare.Modality, bare.PhotometricInterpretation = "OT", "MONOCHROME2"
    for name in _PIXELS:
        if name in data:
            bare[name] = data[name]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "frames.dcm")
        bare.save_as(copy, enforce_file_format=True)
        try:
            with decoding(path):
                return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(copy), imageIO="GDCMImageIO")))
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be decoded ({last_line(error)})") from None
