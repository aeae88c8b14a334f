"""NIfTI files, read with nibabel: header, voxels, warnings, and headers for writing in a given geometry."""

import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.types import as_size
from app.io.faults import faults_named
from app.io.grid import corners_apart_mm, is_invertible, is_sheared
from app.io.header import Header, make_header
from app.io.nifti_extensions import refuse_long_extension
from app.io.packed import refuse_hollow
from app.io.suffixes import pair_of

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # `nifti_warnings` reports these problems
warnings.filterwarnings("ignore", "Extension size is not", module="nibabel")  # extensions are not read here

_FORM = "NIfTI"
_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}  # NIfTI-1 codes, factors to mm; 2 mm, 0 unknown
_TO_END = 2**20  # most bytes after the voxels
_SIZES_AGREE = 0.1  # largest difference of an sform's voxel sizes from pixdim, as a share of pixdim
_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "sform_code", "srow_x", "srow_y", "srow_z"),
)


def read_header(path: Path) -> Header:
    """Return the header, without reading voxels.

    Raises:
        InputError: the file is not NIfTI, or the header is invalid.
    """
    with faults_named(path, _FORM):
        image = _loaded(path)
        shape, dtype = _trimmed(image.shape), image.get_data_dtype()
        affine = in_millimetres(image.header, image.affine)
        stored_bytes = sum(file.stat().st_size for file in set(files_of(path)))
    packed = _is_packed(files_of(path)[-1])
    return make_header(path, shape, affine=affine, dtype=dtype, stored_bytes=stored_bytes, packed=packed)


def read_voxels(path: Path) -> NDArray[np.generic]:
    """Return voxels (i, j, k) or (i, j, k, channels): as stored, or float32 if the file scales them.

    Raises:
        InputError: the file is not NIfTI, or is damaged.
    """
    file = files_of(path)[-1]
    with faults_named(path, _FORM):
        stored = _loaded(path).dataobj
        if _is_packed(file):
            refuse_hollow(path, file, math.prod(stored.shape) * stored.dtype.itemsize)
        with ImageOpener(file) as stream:
            layout = (stored.shape, stored.dtype, stored.offset, stored.slope, stored.inter)
            scaled = layout[3:] != (1, 0)
            # Values too large for float32 become infinite; callers that need finite voxels check for that.
            proxy = type(stored)(stream, layout)
            voxels = np.asanyarray(proxy, dtype=np.float32) if scaled else np.asanyarray(proxy)
            if _is_packed(file):
                stream.read(_TO_END)  # at its end the checksum is compared
    result: NDArray[np.generic] = voxels.reshape(_trimmed(voxels.shape))
    return result


def read_at(path: Path, voxels: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return values (N, channels) of a file (i, j, k, channels) at voxels (N, 3), read channel by channel.

    Raises:
        InputError: the file is not NIfTI or has not four axes, or a voxel is outside its shape.
    """
    with faults_named(path, _FORM):
        image = nib.load(path)
        if len(image.shape) != 4 or (len(voxels) and (voxels.max(axis=0) >= image.shape[:3]).any()):
            raise InputError(f"{path}: got shape {image.shape}, wanted (i, j, k, channels) of the label map")
        channels = [np.asarray(image.dataobj[..., c])[tuple(voxels.T)] for c in range(image.shape[3])]
    return np.stack(channels, axis=1).astype(np.float32)


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the file itself, or the header and voxel file of a pair."""
    return pair_of(path) or (path,)


def in_millimetres(header: nib.Nifti1Header, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine to RAS millimetres: that of `chosen_form`, converted from the header's units.

    `otherwise` is used if neither form is set.
    """
    _, form = chosen_form(header)
    affine = np.array(otherwise if form is None else form, dtype=np.float64)
    affine[:3] *= _UNITS.get(_unit(header), ("", 1.0))[1]
    return affine


def chosen_form(header: nib.Nifti1Header) -> tuple[str, NDArray[np.float64] | None]:
    """Return the name of the form to use and its affine in the header's units; None if neither is set.

    The sform is used, unless it cannot be inverted or its voxel sizes differ from pixdim. In that case the
    qform, whose voxel sizes are those of pixdim, is used if it is set.
    """
    qform, sform = _forms(header)
    q_counts = qform is not None and is_invertible(qform)
    if sform is not None and (not q_counts or (is_invertible(sform) and _has_sizes(sform, header))):
        return "sform", sform
    return ("qform", qform) if qform is not None else ("", None)


def geometry_of(path: Path) -> nib.Nifti1Header:
    """Return a new header with exactly the geometry of a file: both affines, their codes and the units.

    Raises:
        InputError: the file is not NIfTI.
    """
    with faults_named(path, _FORM):
        source = nib.Nifti1Header.from_header(_loaded(path).header, check=False)
        header = nib.Nifti1Header()
        for field in _GEOMETRY:
            header[field] = source[field]
    return header


def geometry_from(affine: NDArray[np.float64]) -> nib.Nifti1Header:
    """Return a new header with an affine to RAS millimetres in scanner coordinates.

    A qform cannot express a sheared affine, as of a tilted gantry. It is then marked as unknown, so that no
    reader uses it, and ITK refuses the file instead of reading it at a wrong position.
    """
    image = nib.Nifti1Image(np.zeros((1, 1, 1), dtype=np.uint8), affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="unknown" if is_sheared(affine) else "scanner")
    image.header.set_xyzt_units("mm")
    return image.header


def nifti_warnings(path: Path) -> dict[str, str]:
    """Return one sentence per kind of warning about a header: missing or contradictory information.

    Raises:
        InputError: the file is not NIfTI.
    """
    with faults_named(path, _FORM):
        header = _as_stored(path)
        found = {
            "forms_disagree": _forms_disagree(header),
            "sizes_disagree": _sizes_disagree(header),
            "negative_spacing": _negative_spacing(header),
            "no_orientation": _no_orientation(header),
            "not_millimetres": _not_millimetres(header),
            "unknown_unit": _unknown_unit(header),
        }
    return {kind: sentence for kind, sentence in found.items() if sentence}


def _as_stored(path: Path) -> nib.Nifti1Header:
    """Return the header exactly as stored; nibabel repairs parts of it when it loads an image."""
    image = _loaded(path)
    with ImageOpener(files_of(path)[0]) as stream:
        return type(image.header).from_fileobj(stream, check=False)


def _loaded(path: Path) -> nib.Nifti1Pair:
    """Return the image, without reading voxels.

    Raises:
        InputError: the file, or the other one of a pair, is missing; or the file is Analyze, which does not
            say which side is left.
    """
    lacking = [file for file in files_of(path) if not file.exists()]
    if path in lacking:
        raise InputError(f"{path}: no such file")
    if lacking:
        raise InputError(f"{path}: got no {lacking[0].name} next to it, the other file of the pair")
    refuse_long_extension(path, files_of(path))
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Pair):
        why = "which does not record which side is left"
        raise InputError(f"{path}: got an Analyze 7.5 header, {why}; wanted NIfTI")
    _fill_sizes(image.header, files_of(path)[0])
    return image


def _fill_sizes(header: nib.Nifti1Header, file: Path) -> None:
    """Replace voxel sizes that `file` stores as 0, for which nibabel takes 1, by those of the sform."""
    sform = header.get_sform(coded=True)[0]
    if sform is None or not is_invertible(sform) or not (header["pixdim"][1:4] == 1).any():
        return
    with ImageOpener(file) as stream:
        stored = type(header).from_fileobj(stream, check=False)["pixdim"][1:4]
    sizes = np.linalg.norm(sform[:3, :3], axis=0)
    header["pixdim"][1:4] = np.where(stored == 0, sizes, header["pixdim"][1:4])


def _is_packed(file: Path) -> bool:
    return file.name.lower().endswith(".gz")


def _trimmed(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape without axes of length 1 after (i, j, k): ITK writes channels as (i, j, k, 1, C)."""
    kept = [int(n) for n in shape]
    if len(kept) == 5 and kept[3] == 1:
        del kept[3]
    while len(kept) > 3 and kept[-1] == 1:
        kept.pop()
    return tuple(kept)


def _unit(header: nib.Nifti1Header) -> int:
    return int(header["xyzt_units"]) & 0b111  # the other bits are the unit of time


def _forms(header: nib.Nifti1Header) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return the affines of qform and sform; None for one that is not set or cannot be computed."""
    try:
        qform = header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):
        qform = None
    return qform, header.get_sform(coded=True)[0]


def _has_sizes(affine: NDArray[np.float64], header: nib.Nifti1Header) -> bool:
    """Return whether the voxel sizes of an affine agree with pixdim."""
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return bool((np.abs(sizes - pixdim) <= _SIZES_AGREE * pixdim).all())


def _forms_disagree(header: nib.Nifti1Header) -> str:
    qform, sform = _forms(header)
    if qform is None and int(header["qform_code"]):
        return "the qform cannot be computed"
    if qform is None or sform is None:
        return ""
    used = chosen_form(header)[0]
    if not is_invertible(sform):
        return f"the sform cannot be inverted; the {used} is used"
    shape = as_size((*header.get_data_shape(), 1, 1, 1)[:3])
    apart_mm = corners_apart_mm(shape, qform, sform)
    tolerance_mm = 0.1 * float(np.linalg.norm(sform[:3, :3], axis=0).min())
    told = f"qform and sform are up to {apart_mm:.3g} mm apart; the {used} is used"
    return told if apart_mm > tolerance_mm else ""


def _sizes_disagree(header: nib.Nifti1Header) -> str:
    """Return a warning if only the sform is set and its voxel sizes differ from pixdim.

    Some programs use the sizes of pixdim.
    """
    qform, sform = _forms(header)
    if qform is not None or sform is None or not is_invertible(sform) or _has_sizes(sform, header):
        return ""
    sizes, pixdim = np.linalg.norm(sform[:3, :3], axis=0), header["pixdim"][1:4]
    told = [" x ".join(f"{mm:.3g}" for mm in values) for values in (sizes, pixdim)]
    return f"voxels are {told[0]} mm by the sform, which is used, and {told[1]} mm by pixdim"


def _negative_spacing(header: nib.Nifti1Header) -> str:
    spacing = header["pixdim"][1:4].tolist()
    zero = "" if all(spacing) else ", where 0 is read as the sform's size, or as 1 mm without an sform"
    return f"got voxel sizes {spacing}{zero}" if min(spacing) <= 0 else ""


def _no_orientation(header: nib.Nifti1Header) -> str:
    coded = int(header["qform_code"]) or int(header["sform_code"])
    return "" if coded else "neither qform nor sform is set"


def _not_millimetres(header: nib.Nifti1Header) -> str:
    unit = _UNITS.get(_unit(header))
    return "" if unit is None else f"lengths are in {unit[0]}; they are converted"


def _unknown_unit(header: nib.Nifti1Header) -> str:
    unit = _unit(header)
    return (
        "" if unit in (0, 2, *_UNITS) else f"lengths are in unit number {unit}, which NIfTI does not define"
    )
