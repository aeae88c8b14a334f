"""DICOM segmentations and radiotherapy structure sets as label maps on the grid of their scan.

A segment or structure becomes the label with its name; those that match no label are logged and left out.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.types import Size
from app.io.contours import Points, combine, fill
from app.io.dicom_files import is_dicom, sop_class
from app.io.dicom_frames import frames_of, read_data
from app.io.faults import faults_named
from app.io.label_values import listed_values

log = logging.getLogger(__name__)
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
_OFF_GRID = 0.1  # largest distance from the scan's grid in voxels, as for label maps of other formats
_OFF_PLANE = 0.25  # largest distance from a slice in slice distances; uneven slices need this much
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LONGEST = 64  # most letters of a name in DICOM
_Values = dict[int, int]
"""The class of each segment or structure, by its number."""


def holds_labels(path: Path) -> bool:
    """Return whether a file is a DICOM segmentation or structure set."""
    return path.is_file() and is_dicom(path) and sop_class(path) in (*_SEGMENTATIONS, _STRUCTURES)


def read_classes(path: Path, names: Sequence[str], size: Size, affine: NDArray[np.float64]) -> NDArray[Any]:
    """Return classes (i, j, k), the positions in `names`, on a grid of `size` voxels.

    `affine` is that of the grid, from (i, j, k) to RAS millimetres.

    If labels overlap, the one that is later in `names` is used.

    Raises:
        InputError: pydicom is not installed, no label has one of these names, or the labels were drawn on
            another grid.
    """
    data = read_data(path, "a file of DICOM labels", defer_size="1 MB")
    to_voxels = np.asarray(np.linalg.inv(_TO_LPS @ affine), dtype=np.float64)
    classes = np.zeros(size, dtype=np.uint8 if len(names) <= 256 else np.int16)
    with faults_named(path, "DICOM labels"):
        if str(data.SOPClassUID) == _STRUCTURES:
            _draw_structures(classes, path, data, names, to_voxels)
        else:
            _draw_segments(classes, path, data, names, to_voxels)
    return classes


def _chosen(path: Path, found: Sequence[tuple[int, str]], names: Sequence[str]) -> _Values:
    """Return the class of each segment or structure number whose name is in `names`.

    Raises:
        InputError: no name matches, or two have the same name.
    """
    classes = {_plain(name): value for value, name in enumerate(names) if value}
    chosen = {number: classes[_plain(name)] for number, name in found if _plain(name) in classes}
    listed = ", ".join(name for _, name in found[:20])
    if not chosen and found:
        raise InputError(f"{path}: got labels called {listed}, wanted some of {', '.join(names[1:])}")
    if len(set(chosen.values())) < len(chosen):
        raise InputError(f"{path}: got two labels of one name among {listed}, wanted one of each")
    others = [name for number, name in found if number not in chosen]
    if others:
        log.info("%s: %d labels that the task does not name: %s", path, len(others), ", ".join(others[:20]))
    return chosen


def _plain(name: str) -> str:
    """Return a name in lower case without padding."""
    return name.strip().casefold()


def _draw_segments(
    classes: NDArray[Any], path: Path, data: Any, names: Sequence[str], to_voxels: NDArray[np.float64]
) -> None:
    described = [
        (int(item.SegmentNumber), _name(item, "SegmentLabel", "SegmentDescription"))
        for item in data.SegmentSequence
    ]
    chosen = _chosen(path, described, names)
    for value, place, pixels in _segment_frames(path, data, chosen, to_voxels):
        rows, columns = np.nonzero(pixels)
        voxels = place[:3, 3] + np.outer(columns, place[:3, 0]) + np.outer(rows, place[:3, 1])
        indices = np.rint(voxels).astype(int)
        if indices.size and ((indices < 0) | (indices >= classes.shape)).any():
            raise InputError(f"{path}: got labels outside the scan; were they drawn on another series?")
        i, j, k = indices.T
        classes[i, j, k] = np.maximum(classes[i, j, k], value)


def _name(item: Any, key: str, described: str) -> str:
    """Return the name of a segment or structure; if it was cut at 64 letters, from the description."""
    name, whole = str(item.get(key, "")), str(item.get(described, ""))
    return whole if len(name) == _LONGEST and whole[:48] == name[:48] else name


def _segment_frames(
    path: Path, data: Any, chosen: _Values, to_voxels: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield the frames of the chosen segments.

    Each has its class, its affine (4, 4) from (column, row) to voxels and its pixels (row, column).
    """
    from pydicom.pixels import iter_pixels

    kind = str(data.get("SegmentationType", "BINARY"))
    least = int(data.get("MaximumFractionalValue", 1)) / 2
    source = data if data.file_meta.TransferSyntaxUID.is_deflated else path  # a path is read by frames
    groups, shared = data.PerFrameFunctionalGroupsSequence, data.SharedFunctionalGroupsSequence[0]
    for frame, group, pixels in zip(frames_of(path, data), groups, iter_pixels(source), strict=True):
        assert frame.index is not None
        mm = np.eye(4)
        mm[:3, 0] = np.array(frame.axes[:3]) * frame.spacing[0]
        mm[:3, 1] = np.array(frame.axes[3:]) * frame.spacing[1]
        mm[:3, 3] = frame.position
        place = to_voxels @ mm
        _refuse_off_grid(path, place[:, [0, 1, 3]], frame.size)
        if kind == "LABELMAP":
            for number in set(np.unique(pixels).tolist()) & set(chosen):
                yield chosen[number], place, pixels == number
            continue
        holder = group if "SegmentIdentificationSequence" in group else shared
        number = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        if number in chosen:
            yield chosen[number], place, pixels >= least if kind == "FRACTIONAL" else pixels > 0


def _refuse_off_grid(path: Path, place: NDArray[np.float64], size: tuple[int, int]) -> None:
    """Refuse a frame whose corner pixels do not coincide with voxels."""
    corners = np.array([(x, y, 1) for x in (0, size[0] - 1) for y in (0, size[1] - 1)])
    voxels = (corners @ place.T)[:, :3]
    off = float(np.abs(voxels - np.rint(voxels)).max())
    if off > _OFF_GRID:
        raise InputError(
            f"{path}: got pixels {off:.2g} voxels off the scan's, wanted at most {_OFF_GRID}; were they "
            "drawn on another series?"
        )


def _draw_structures(
    classes: NDArray[Any], path: Path, data: Any, names: Sequence[str], to_voxels: NDArray[np.float64]
) -> None:
    described = [
        (int(item.ROINumber), _name(item, "ROIName", "ROIDescription"))
        for item in data.StructureSetROISequence
    ]
    chosen = _chosen(path, described, names)
    drawn = {int(item.ReferencedROINumber): item for item in data.get("ROIContourSequence", [])}
    for number, value in sorted(chosen.items(), key=lambda pair: pair[1]):
        contours = drawn[number].get("ContourSequence", []) if number in drawn else []
        planes, exclusive = _by_plane(path, names[value], contours, classes.shape, to_voxels)
        _warn_of_gaps(path, names[value], planes)
        for k, polygons in planes.items():
            size = (classes.shape[0], classes.shape[1])
            inside = fill(polygons, size) if k in exclusive else combine(polygons, size)
            classes[:, :, k][inside] = value


def _warn_of_gaps(path: Path, name: str, planes: Collection[int]) -> None:
    """Warn of slices without contour between slices with contours of a structure; they stay background."""
    gaps = sorted(set(range(min(planes, default=0), max(planes, default=0))) - set(planes))
    if gaps:
        log.warning(
            "%s: %s: no contour in %d slices between others (%s), which stay background; if the structure "
            "is outlined on some slices only, interpolate it first",
            path,
            name,
            len(gaps),
            listed_values([k + 1 for k in gaps]),
        )


def _by_plane(
    path: Path, name: str, contours: Sequence[Any], size: Sequence[int], to_voxels: NDArray[np.float64]
) -> tuple[dict[int, list[Points]], set[int]]:
    """Return a structure's polygons (i, j) by slice k, and the slices on which overlaps cancel out (XOR)."""
    planes: dict[int, list[Points]] = defaultdict(list)
    exclusive: set[int] = set()
    for contour in contours:
        kind = str(contour.ContourGeometricType)
        if not kind.startswith("CLOSED"):
            raise InputError(f"{path}: {name}: got a contour of type {kind}, wanted CLOSED_PLANAR")
        points = np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3)
        voxels = np.column_stack([points, np.ones(len(points))]) @ to_voxels.T
        k = round(float(voxels[:, 2].mean()))
        off = float(np.abs(voxels[:, 2] - k).max())
        if off > _OFF_PLANE:
            raise InputError(
                f"{path}: {name}: got a contour {off:.2g} slices off slice {k + 1}, wanted at most "
                f"{_OFF_PLANE}; was it drawn on another series?"
            )
        if not 0 <= k < size[2]:
            raise InputError(f"{path}: {name}: got a contour outside the scan, at slice {k + 1} of {size[2]}")
        planes[k].append(voxels[:, :2])
        if kind == "CLOSEDPLANAR_XOR":
            exclusive.add(k)
    return planes, exclusive
