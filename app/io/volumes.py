"""Scans and label maps, from files and back: the formats behind one door, every fault of a file named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.files import atomic_path
from app.core.reading import Reading
from app.core.types import Labels, Spacing, as_size, as_spacing
from app.io import channels, dicom, itk, nifti
from app.io.channels import Channel, order_channels
from app.io.dicom_files import is_dicom
from app.io.dicom_grid import is_uneven, uneven_sentence
from app.io.grid import corners_apart_mm, is_turned, turned_grid, turned_voxels
from app.io.header import Header
from app.io.label_values import count_values, listed_values, to_classes, to_values
from app.io.several import numbered_files
from app.io.suffixes import NIFTI, SUFFIXES, pair_of, stem_of, suffix_of

_DICOM_SUFFIXES = (".dcm", ".DCM", ".dicom", ".ima", ".IMA")
_AS_NAMED = Reading()


@dataclass(frozen=True)
class _OnGrid:
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> Spacing:
        """Millimetres along (i, j, k)."""
        return as_spacing(np.linalg.norm(self.affine[:3, :3], axis=0).tolist())

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel; less than its edges' product where axes are not at right angles (a tilt)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True)
class Volume(_OnGrid):
    """Voxels (C, i, j, k) in the file's own axis order and the affine from (i, j, k) to RAS millimetres."""

    voxels: NDArray[np.float32]


@dataclass(frozen=True)
class LabelMap(_OnGrid):
    """Classes (i, j, k) and the affine from (i, j, k) to RAS millimetres."""

    voxels: Labels


def case_name(path: Path) -> str:
    """The file name without its suffix; the whole name of a folder, or of a DICOM file without suffix."""
    if path.is_dir():
        return path.name
    if suffix_of(path):
        return stem_of(path)
    for suffix in _DICOM_SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    if (path.is_file() and is_dicom(path)) or numbered_files(path):
        return path.name
    raise InputError(f"{path}: got suffix {path.suffix!r}, wanted one of {', '.join(SUFFIXES)}")


def scans_by_case(folder: Path) -> dict[str, Path]:
    """Return what a folder holds by name: files of a known format and folders, hidden ones left out.

    Raises:
        InputError: two of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name[0] == "." or not (path.is_dir() or is_scan_file(path) or is_dicom(path)):
            continue
        case = case_name(path)
        if case in found:
            raise InputError(f"{folder}: got {found[case].name} and {path.name}, wanted one of {case}")
        found[case] = path
    return found


def scan_files(path: Path) -> list[Path]:
    """The files a scan is made of: itself and what belongs to it, or those of its folder, no hidden ones."""
    if numbered := numbered_files(path):
        return [file for part in numbered for file in _format_of(part).files_of(part)]
    if not path.is_dir():
        return list(_format_of(path).files_of(path)) if suffix_of(path) else [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name[0] != ".")


def channels_of(folder: Path, reading: Reading = _AS_NAMED) -> list[Channel]:
    """The channels of a folder, or of numbered files, that are one scan, in order.

    Raises:
        InputError: no scan in it, or names that do not give one order.
    """
    return order_channels(folder, find_channels(folder), reading)


def find_channels(folder: Path) -> list[Channel]:
    """All files and series in a folder and its subfolders, by name; or the numbered files of a scan.

    Raises:
        InputError: none, or a DICOM image that cannot be read.
    """
    numbered = numbered_files(folder)
    return [Channel(path.name, path) for path in numbered] or channels.find_channels(folder, is_scan_file)


def scan_exists(path: Path) -> bool:
    """Whether there is a scan: a file, a folder, or numbered files."""
    return path.exists() or bool(numbered_files(path))


def _is_several(path: Path) -> bool:
    """Whether a scan is a folder or several files."""
    return path.is_dir() or bool(numbered_files(path))


def series_of(path: Path, reading: Reading = _AS_NAMED) -> dicom.Series | None:
    """The DICOM series of a scan's first channel; None where that is another file."""
    if _is_several(path):
        source = channels_of(path, reading)[0].source
        return source if isinstance(source, dicom.Series) else None
    return None if suffix_of(path) else dicom.only_series(path)


def is_scan_file(path: Path) -> bool:
    """Whether a file has a suffix of a known format; DICOM files are known by their content instead.

    Of a NIfTI file in two parts the voxels are the scan, and the header if it is alone.
    """
    if not path.is_file() or path.name[0] == "." or not suffix_of(path):
        return False
    pair = pair_of(path)
    return pair is None or path == pair[1] or not pair[1].exists()


def header_doubts(path: Path, reading: Reading = _AS_NAMED) -> dict[str, str]:
    """What the headers of a scan leave open or say twice and differently: a sentence by kind of doubt."""
    if _is_several(path):
        inside = channels_of(path, reading)
        files = [channel.source for channel in inside if isinstance(channel.source, Path)]
        series = [channel.source for channel in inside if isinstance(channel.source, dicom.Series)]
        told = {
            kind: f"{file.name}: {doubt}" for file in files for kind, doubt in header_doubts(file).items()
        }
        return told | _series_doubts([dicom.header_of(one).uneven for one in series])
    if suffix_of(path, NIFTI):
        return nifti.doubts(path)
    return {} if suffix_of(path) else _series_doubts([dicom.read_header(path).uneven])


def _series_doubts(uneven: Sequence[float]) -> dict[str, str]:
    worst = max(uneven, default=0.0)
    return {"uneven_slices": uneven_sentence(worst)} if is_uneven(worst) else {}


def read_header(path: Path, reading: Reading = _AS_NAMED) -> Header:
    """Size, channels, affine and type of a scan or label map; no voxel is read.

    Raises:
        InputError: missing, no such format, or a header that cannot be true (negative or gigantic
            dimensions, an affine that cannot be inverted).
    """
    if _is_several(path):
        return _header_of(channels_of(path, reading))
    read, _ = _format(path)
    return read(path)


def read_volume(path: Path, reading: Reading = _AS_NAMED) -> Volume:
    """Read a scan: a file of one channel or several, a DICOM series folder, or a folder of channels.

    The path of files <scan>_0000, <scan>_0001, ... without number and suffix is a scan too.

    A folder of channels holds one scan (file or DICOM series, also in subfolders) per channel, in the order
    of their names unless `reading` has another.

    Raises:
        InputError: missing, unreadable or truncated file, wrong dimensions, NaN or infinite voxels,
            an affine that cannot be inverted, channels on different grids.
    """
    volume = load_volume(path, reading)
    if not np.isfinite(volume.voxels).all():
        bad = int(volume.voxels.size - np.isfinite(volume.voxels).sum())
        raise InputError(f"{path}: got {bad} NaN or infinite voxels, wanted finite intensities")
    return volume


def load_volume(path: Path, reading: Reading = _AS_NAMED) -> Volume:
    """As `read_volume`, but with whatever intensities are stored."""
    if _is_several(path):
        return _stack(channels_of(path, reading), reading)
    return _as_volume(*_read(path, reading))


def _as_volume(voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> Volume:
    if voxels.ndim == 3:
        voxels = voxels[..., np.newaxis]
    return Volume(affine, np.ascontiguousarray(np.moveaxis(voxels, -1, 0), dtype=np.float32))


def read_label_map(path: Path, values: Sequence[int]) -> LabelMap:
    """Read a label map, of any stored type, as the places of its label values among the rising `values`.

    Raises:
        InputError: as `read_volume`, or a value that is none of these.
    """
    voxels, affine = load_labels(path)
    found = count_values(voxels)
    unknown = {value: count for value, count in found.items() if value not in set(values)}
    if unknown:
        raise InputError(
            f"{path}: got {sum(unknown.values())} voxels of label values {listed_values(unknown)}, "
            f"wanted only {listed_values(values)}; mode=check tells what can be repaired"
        )
    return LabelMap(affine, to_classes(voxels, values))


def load_labels(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Whatever values a label map (i, j, k) stores, as stored, and the affine.

    Raises:
        InputError: as `read_volume`, or several channels.
    """
    voxels, affine = _read(path)
    if voxels.ndim != 3:
        raise InputError(
            f"{path}: got shape {voxels.shape}, wanted a label map (i, j, k) with a whole number per voxel; "
            "if each channel is the mask of one label, write the number of the label where its mask is 1"
        )
    return voxels, affine


def turn_like(label_map: LabelMap, grid: Volume | LabelMap) -> LabelMap:
    """The label map with its axes in the order and direction of the grid's; nothing is interpolated."""
    if not is_turned(label_map.affine, grid.affine):
        return label_map
    _, affine = turned_grid(as_size(label_map.voxels.shape), label_map.affine, grid.affine)
    return LabelMap(affine, turned_voxels(label_map.voxels, label_map.affine, grid.affine))


def write_label_map(
    path: Path, classes: Labels, values: Sequence[int], like: Path, reading: Reading = _AS_NAMED
) -> None:
    """Write the label values of classes (i, j, k) atomically with exactly the geometry of the scan `like`."""
    write_voxels(path, to_values(classes, values), like, reading)


def write_volume(path: Path, voxels: NDArray[np.float32], like: Path, reading: Reading = _AS_NAMED) -> None:
    """Write intensities (C, i, j, k) atomically with exactly the geometry of the scan `like`."""
    channels_last = np.moveaxis(voxels, 0, -1)
    write_voxels(path, channels_last[..., 0] if voxels.shape[0] == 1 else channels_last, like, reading)


def write_voxels(path: Path, voxels: NDArray[np.generic], like: Path, reading: Reading = _AS_NAMED) -> None:
    """Write (i, j, k) or (i, j, k, K) of any type atomically, in the format of the suffix of `path`.

    The geometry is exactly that of the scan `like`, read as `reading` says: from NIfTI to NIfTI with codes
    and units.
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
    """Raise InputError unless both have one shape and their corners lie within a tenth of a voxel."""
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
    """The functions that read header and voxels of a file or series folder."""
    case_name(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir() or not suffix_of(path):
        return dicom.read_header, dicom.read_voxels
    module = _format_of(path)
    return module.read_header, module.read_voxels


def _format_of(path: Path) -> Any:
    """The module of a file's format."""
    return nifti if suffix_of(path, NIFTI) else itk


def _read(path: Path, reading: Reading = _AS_NAMED) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Voxels (i, j, k) or (i, j, k, channels) and affine; the header is judged before voxels are read."""
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
            f"{reading.slice_jitter}; set slice_jitter to read them as even all the same"
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
