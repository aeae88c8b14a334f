"""DICOM as scanners and archives write it, by pydicom: slices, multi-frame, compressed, without preamble."""

import copy
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    MRImageStorage,
)

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TO_MM = np.array([[-2.0, 0, 0, 30], [0, -2, 0, 28], [0, 0, 4, -20], [0, 0, 0, 1]])
OBLIQUE = TO_MM.copy()
OBLIQUE[:3, :3] = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, 0.6], [-0.36, -0.48, 0.8]]).T * (2, 1.5, 4)
TILTED = TO_MM.copy()
TILTED[1, 2] = 1.2
ROOT = "1.2.826.0.1.3680043.8.498."


def a_scan(shape: tuple[int, int, int] = (9, 8, 6), seed: int = 0) -> NDArray[np.int16]:
    """Noise (i, j, k) from -1000 to 3000, as no reader can mistake one voxel for another."""
    return np.random.default_rng(seed).integers(-1000, 3000, shape, dtype=np.int16)


def slices(
    scan: NDArray[Any],
    affine: NDArray[np.float64] = TO_MM,
    *,
    series: str = "a",
    modality: str = "CT",
    photometric: str = "MONOCHROME2",
    signed: bool = False,
    slope: float = 1.0,
    intercept: float = -1024.0,
    **tags: Any,
) -> list[FileDataset]:
    """One data set per slice k of (i, j, k), whose affine goes to RAS mm; `tags` are set in each."""
    lps = LPS @ affine
    mm = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / mm
    found = []
    for k in range(scan.shape[2]):
        data = _common(series, k, modality, MRImageStorage if modality == "MR" else CTImageStorage)
        data.InstanceNumber = k + 1
        data.ImagePositionPatient = [f"{x:.8g}" for x in (lps @ (0, 0, k, 1))[:3]]
        data.ImageOrientationPatient = [f"{x:.9g}" for x in (*axes[:, 0], *axes[:, 1])]
        data.PixelSpacing, data.SliceThickness = [f"{mm[1]:.8g}", f"{mm[0]:.8g}"], f"{mm[2]:.6g}"
        stored = np.round((scan[:, :, k].T - intercept) / slope)
        _set_pixels(data, stored, photometric, signed)
        data.RescaleSlope, data.RescaleIntercept = f"{slope}", f"{intercept}"
        for name, value in tags.items():
            setattr(data, name, value)
        found.append(data)
    return found


def save(
    folder: Path, data: Sequence[FileDataset], *, syntax: str | None = None, suffix: str = ".dcm"
) -> Path:
    """Write IM0000, IM0001, ... in the order given, compressed with `syntax`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(data):
        path = folder / f"IM{number:04d}{suffix}"
        if syntax == JPEGLosslessSV1:
            _by_gdcm(path, one)
            continue
        if syntax == JPEG2000Lossless:
            _by_pillow(one)
        elif syntax == DeflatedExplicitVRLittleEndian:  # the whole file, which pydicom does as it writes
            one.file_meta.TransferSyntaxUID = syntax
        elif syntax is not None:
            one.compress(syntax)
        one.save_as(path, enforce_file_format=True)
    return folder


def save_bare(folder: Path, data: Sequence[FileDataset]) -> Path:
    """Write files without preamble, file meta information and suffix, as old archives hold."""
    folder.mkdir(parents=True)
    for number, one in enumerate(data):
        bare = Dataset()
        bare.update({element.tag: element for element in one})
        pydicom.dcmwrite(
            folder / f"IM{number}", bare, implicit_vr=True, little_endian=True, enforce_file_format=False
        )
    return folder


def enhanced(data: Sequence[FileDataset], order: Sequence[int] | None = None) -> FileDataset:
    """One multi-frame data set of slices, its frames in the order given, each with its own scale."""
    first = data[0]
    kind = EnhancedMRImageStorage if first.Modality == "MR" else EnhancedCTImageStorage
    whole = _common(first.SeriesInstanceUID.split(".")[-1], 0, first.Modality, kind)
    whole.SeriesInstanceUID = first.SeriesInstanceUID
    frames = [data[k] for k in (order or range(len(data)))]
    for name in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated"):
        setattr(whole, name, first[name].value)
    for name in ("BitsStored", "HighBit", "PixelRepresentation"):
        setattr(whole, name, first[name].value)
    whole.NumberOfFrames = len(frames)
    shared, turn = Dataset(), Dataset()
    turn.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PlaneOrientationSequence = Items([turn])
    whole.SharedFunctionalGroupsSequence = Items([shared])
    whole.PerFrameFunctionalGroupsSequence = Items([_groups(frame) for frame in frames])
    whole.PixelData = b"".join(frame.PixelData for frame in frames)
    whole["PixelData"].VR = "OW"
    return whole


def pydicom_voxels(files: Sequence[Path]) -> NDArray[np.float32]:
    """(i, j, k) in the order of the files, by pydicom alone: stored values with slope and intercept."""
    read = [pydicom.dcmread(file) for file in files]
    planes = [one.pixel_array.T * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in read]
    return np.stack(planes, axis=-1).astype(np.float32)


def _common(series: str, number: int, modality: str, kind: str) -> FileDataset:
    name = ROOT + str(zlib.crc32(series.encode()))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, f"{name}.{number + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = kind, meta.MediaStorageSOPInstanceUID, modality
    data.PatientName, data.PatientID = "Doe^Jane", "4711-X"
    data.PatientBirthDate, data.PatientSex = "19500102", "F"
    data.StudyDate, data.StudyTime, data.AccessionNumber, data.ReferringPhysicianName = (
        "20200101",
        "080000",
        "",
        "",
    )
    data.StudyID, data.Manufacturer, data.SeriesNumber, data.SeriesDescription = "1", "x", 1, series
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = ROOT + "1", name, ROOT + "2"
    data.PositionReferenceIndicator, data.ImageType = "", ["ORIGINAL", "PRIMARY", "AXIAL"]
    return data


def _set_pixels(data: FileDataset, stored: NDArray[np.float64], photometric: str, signed: bool) -> None:
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, int(signed)
    data.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
    data["PixelData"].VR = "OW"


def _groups(frame: FileDataset) -> Dataset:
    groups = Dataset()
    place, measures, scale = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = frame.ImagePositionPatient
    measures.PixelSpacing, measures.SliceThickness = frame.PixelSpacing, frame.SliceThickness
    scale.RescaleSlope, scale.RescaleIntercept = frame.RescaleSlope, frame.RescaleIntercept
    scale.RescaleType = "HU"
    groups.PlanePositionSequence = Items([place])
    groups.PixelMeasuresSequence = Items([measures])
    groups.PixelValueTransformationSequence = Items([scale])
    return groups


def _by_gdcm(path: Path, data: FileDataset) -> None:
    """Pixels in lossless JPEG by GDCM, every other tag as it was."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(path))
    writer.Execute(sitk.GetImageFromArray(data.pixel_array))
    packed = pydicom.dcmread(path)
    whole = copy.deepcopy(data)
    whole.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    whole["PixelData"] = packed["PixelData"]
    whole.save_as(path, enforce_file_format=True)


def _by_pillow(data: FileDataset) -> None:
    """Put pixels in lossless JPEG 2000."""
    packed = io.BytesIO()
    Image.fromarray(data.pixel_array).save(packed, "JPEG2000", irreversible=False, no_jp2=True)
    data.PixelData = encapsulate([packed.getvalue()])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
