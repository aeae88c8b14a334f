"""Reading and writing of scans and label maps: one set of functions for all formats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.files import atomic_path
from app.core.reading import DEFAULT_READING, Reading
from app.core.types import Labels, Spacing, as_size, as_spacing
from app.io import dicom, itk, nifti
from app.io.channels import Channel
from app.io.dicom_grid import uneven_sentence
from app.io.grid import corners_apart_mm, needs_reorienting, reoriented_grid, reoriented_voxels
from app.io.header import Header
from app.io.label_values import count_values, listed_values, to_classes, to_values
from app.io.scan_paths import case_name, channels_of, format_of, is_several
from app.io.suffixes import NIFTI, suffix_of


@dataclass(frozen=True)
class _OnGrid:
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> Spacing:
        """Millimetres along (i, j, k)."""
        return as_spacing(np.linalg.norm(self.affine[:3, :3], axis=0).tolist())

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel; less than the product of the spacing if axes are not orthogonal (a tilt)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True)
class Volume(_OnGrid):
    """A scan: voxels (C, i, j, k) in the file's axis order and the affine to RAS millimetres."""

    voxels: NDArray[np.float32]


@dataclass(frozen=True)
class LabelMap(_OnGrid):
    """A label map: classes (i, j, k) and the affine from (i, j, k) to RAS millimetres."""

    voxels: Labels


def read_header(path: Path, reading: Reading = DEFAULT_READING) -> Header:
    """Return the header of a scan or label map, without reading voxels.

    Raises:
        InputError: the file is missing or of another format, or the header is invalid (negative or huge
            dimensions, an affine that cannot be inverted).
    """
    if is_several(path):
        return _header_of(channels_of(path, reading))
    read, _ = _format(path)
    return read(path)


def read_volume(path: Path, reading: Reading = DEFAULT_READING) -> Volume:
    """Read a scan: a file of one or more channels, a DICOM series folder, or a folder of channels.

    A path <scan> without number and suffix stands for the files <scan>_0000, <scan>_0001, ...

    A folder of channels holds one file or DICOM series per channel, also in subfolders, in the order of their
    names unless `reading` gives another.

    Raises:
        InputError: a file is missing, unreadable or truncated, has wrong dimensions, NaN or infinite voxels
            or an affine that cannot be inverted, or channels are on different grids.
    """
    volume = load_volume(path, reading)
    if not np.isfinite(volume.voxels).all():
        bad = int(volume.voxels.size - np.isfinite(volume.voxels).sum())
        raise InputError(f"{path}: got {bad} NaN or infinite voxels, wanted finite intensities")
    return volume


def load_volume(path: Path, reading: Reading = DEFAULT_READING) -> Volume:
    """Read a scan as `read_volume` does, but allow NaN and infinite voxels."""
    if is_several(path):
        return _stack(channels_of(path, reading), reading)
    return _as_volume(*_read(path, reading))


def _as_volume(voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> Volume:
    if voxels.ndim == 3:
        voxels = voxels[..., np.newaxis]
    with np.errstate(over="ignore"):  # values out of range become infinite
        return Volume(affine, np.ascontiguousarray(np.moveaxis(voxels, -1, 0), dtype=np.float32))


def read_label_map(path: Path, values: Sequence[int]) -> LabelMap:
    """Read a label map of any stored type as classes: the position of each label value in rising `values`.

    Raises:
        InputError: as in `read_volume`, or a label value is not in `values`.
    """
    voxels, affine = load_labels(path)
    found = count_values(voxels)
    unknown = {value: count for value, count in found.items() if value not in set(values)}
    if unknown:
        raise InputError(
            f"{path}: got {sum(unknown.values())} voxels of label values {listed_values(unknown)}, "
            f"wanted only {listed_values(values)}; mode=check lists what can be repaired"
        )
    return LabelMap(affine, to_classes(voxels, values))


def load_labels(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Return the values (i, j, k) of a label map as stored, and its affine.

    Raises:
        InputError: as in `read_volume`, or the file has several channels.
    """
    voxels, affine = _read(path)
    if voxels.shape[3:] == (1,):  # one channel, which NRRD and MetaImage keep as an axis
        voxels = voxels[..., 0]
    if voxels.ndim != 3:
        raise InputError(
            f"{path}: got shape {voxels.shape}, wanted a label map (i, j, k) with a whole number per voxel; "
            "if each channel is the mask of one label, write the number of the label where its mask is 1"
        )
    return voxels, affine


def reorient_like(label_map: LabelMap, grid: Volume | LabelMap) -> LabelMap:
    """Return the label map with its axes in the order and direction of `grid`, without interpolation."""
    if not needs_reorienting(label_map.affine, grid.affine):
        return label_map
    _, affine = reoriented_grid(as_size(label_map.voxels.shape), label_map.affine, grid.affine)
    return LabelMap(affine, reoriented_voxels(label_map.voxels, label_map.affine, grid.affine))


def write_label_map(
    path: Path, classes: Labels, values: Sequence[int], like: Path, reading: Reading = DEFAULT_READING
) -> None:
    """Write the label values of classes (i, j, k) atomically with exactly the geometry of the scan `like`."""
    write_voxels(path, to_values(classes, values), like, reading)


def write_volume(
    path: Path, voxels: NDArray[np.float32], like: Path, reading: Reading = DEFAULT_READING
) -> None:
    """Write intensities (C, i, j, k) atomically with exactly the geometry of the scan `like`."""
    channels_last = np.moveaxis(voxels, 0, -1)
    write_voxels(path, channels_last[..., 0] if voxels.shape[0] == 1 else channels_last, like, reading)


def write_voxels(
    path: Path, voxels: NDArray[np.generic], like: Path, reading: Reading = DEFAULT_READING
) -> None:
    """Write voxels (i, j, k) or (i, j, k, K) of any type atomically, in the format of the suffix of `path`.

    The geometry is exactly that of the scan `like`, read with `reading`. From NIfTI to NIfTI, the codes and
    units of the header are kept too.
    """
    case_name(path)
    with atomic_path(path) as temporary:
        if not suffix_of(path, NIFTI):
            itk.write_voxels(temporary, voxels, read_header(like, reading).affine)
            return
        same_format = bool(suffix_of(like, NIFTI)) and not like.is_dir()
        header = (
            nifti.geometry_of(like) if same_format else nifti.geometry_from(read_header(like, reading).affine)
        )
        header.set_data_dtype(voxels.dtype)
        nib.save(nib.Nifti1Image(voxels, None, header), temporary)


def check_same_grid(grid: Volume | LabelMap, other: Volume | LabelMap, path: Path, other_path: Path) -> None:
    """Check that two grids have one shape and that their corners agree within a tenth of a voxel.

    Raises:
        InputError: they do not; the message names both paths.
    """
    shape, wanted = grid.voxels.shape[-3:], other.voxels.shape[-3:]
    if shape != wanted:
        raise InputError(f"{path}: got shape {shape}, wanted {wanted} as {other_path}")
    apart_mm = corners_apart_mm(as_size(shape), grid.affine, other.affine)
    tolerance_mm = 0.1 * min(other.spacing)
    if apart_mm > tolerance_mm:
        raise InputError(
            f"{path}: got a grid up to {apart_mm:.3g} mm away from {other_path}, "
            f"wanted at most {tolerance_mm:.3g} mm"
        )


def _format(path: Path) -> tuple[Callable[[Path], Header], Callable[[Path], NDArray[np.generic]]]:
    """Return the functions that read the header and the voxels of a file or series folder."""
    case_name(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir() or not suffix_of(path):
        return dicom.read_header, dicom.read_voxels
    module = format_of(path)
    return module.read_header, module.read_voxels


def _read(path: Path, reading: Reading = DEFAULT_READING) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Return voxels (i, j, k) or (i, j, k, channels) and affine; the header is validated first."""
    read_header_of, read_voxels = _format(path)
    header = read_header_of(path)
    _refuse_uneven(path, header, reading)
    return read_voxels(path), header.affine


def _read_channel(channel: Channel, reading: Reading) -> Volume:
    if isinstance(channel.source, Path):
        return load_volume(channel.source, reading)
    header = dicom.header_of(channel.source)
    _refuse_uneven(channel.path, header, reading)
    return _as_volume(dicom.voxels_of(channel.source), header.affine)


def _refuse_uneven(path: Path, header: Header, reading: Reading) -> None:
    if header.uneven > reading.slice_jitter:
        raise InputError(
            f"{path}: {uneven_sentence(header.uneven)}, wanted at most "
            f"{reading.slice_jitter}; set slice_jitter to read them as evenly spaced"
        )


def _header_of(found: Sequence[Channel]) -> Header:
    headers = [
        read_header(channel.source) if isinstance(channel.source, Path) else dicom.header_of(channel.source)
        for channel in found
    ]
    return replace(
        headers[0],
        channels=sum(header.channels for header in headers),
        uneven=max(header.uneven for header in headers),
    )


def _stack(found: Sequence[Channel], reading: Reading) -> Volume:
    volumes = [_read_channel(channel, reading) for channel in found]
    for volume, channel in zip(volumes[1:], found[1:], strict=True):
        check_same_grid(volume, volumes[0], channel.path, found[0].path)
    if len(volumes) == 1:
        return volumes[0]
    return Volume(volumes[0].affine, np.concatenate([volume.voxels for volume in volumes]))
