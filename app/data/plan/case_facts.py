"""The facts of one labelled case that count towards the fingerprint of its data set."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from app.core.digest import digest_of_bytes
from app.core.listed import listed
from app.core.scan_warning import ScanWarning
from app.core.task import Case, Task
from app.core.types import Labels, Size, Spacing, as_size, as_spacing
from app.data.plan.label_coverage import label_coverage
from app.data.prepare.geometry import forward_image, forward_labels, plan_geometry
from app.data.prepare.intensity import intensity_ranges
from app.data.prepare.prepare import read_case
from app.data.prepare.region import labelled_crop
from app.io.header_warnings import header_warnings
from app.io.volumes import Volume

_SAMPLES = 10_000  # foreground voxels per case and channel; far fewer give stable percentiles of the data set


@dataclass(frozen=True)
class Box:
    """A box by two corners, (D, H, W) in millimetres from the corner of the cropped scan."""

    low: Spacing
    high: Spacing

    @property
    def centre(self) -> Spacing:
        """The point half way between the corners, (D, H, W) in millimetres."""
        return as_spacing([(low + high) / 2 for low, high in zip(self.low, self.high, strict=True)])

    @property
    def extent(self) -> Spacing:
        """Edge lengths (D, H, W) in millimetres."""
        return as_spacing([high - low for low, high in zip(self.low, self.high, strict=True)])


@dataclass(frozen=True)
class CaseFacts:
    """The facts of one case, reoriented and cropped; sizes and spacings are (D, H, W)."""

    size: Size
    spacing: Spacing
    nonzero_share: tuple[float, ...]
    """Share of voxels that are not zero, per channel."""
    foreground: NDArray[np.float32]
    """Intensities of sampled foreground voxels (C, samples)."""
    brightest: tuple[float, ...]
    """99.5th percentile of the whole scan, per channel."""
    coverage: tuple[tuple[float, ...], ...]
    """For label values 1, 2, ...: `label_coverage` of the case; empty for a label it lacks."""
    boxes: tuple[Box | None, ...]
    """Bounding boxes of label values 1, 2, ...; None for a label the case lacks."""
    oriented: bool
    """Whether the header gives the orientation of the scan, not only the lengths of its voxels."""
    id: str
    digest: str
    """A digest of the scan's voxels."""
    warnings: tuple[ScanWarning, ...] = ()
    """Facts missing from the headers, labels that a prediction cannot find, constant channels."""

    def box(self) -> Box | None:
        """Return the bounding box of all labels; None for a case without any."""
        found = [box for box in self.boxes if box is not None]
        if not found:
            return None
        low = as_spacing([min(box.low[axis] for box in found) for axis in range(3)])
        high = as_spacing([max(box.high[axis] for box in found) for axis in range(3)])
        return Box(low, high)


def case_facts(case: Case, task: Task) -> CaseFacts:
    """Read one case and return its facts.

    Raises:
        InputError: the case cannot be used; the message names it.
    """
    volume, label_map = read_case(case, task)
    crop = labelled_crop(volume, label_map, ignore=task.ignore)
    geometry = plan_geometry(volume.voxels, volume.affine, None, crop)
    image, labels = forward_image(volume.voxels, geometry), forward_labels(label_map.voxels, geometry)
    inside = image[:, (labels > 0) & (labels < len(task.segmented))]
    if inside.shape[1] > _SAMPLES:
        rng = np.random.default_rng(zlib.crc32(case.id.encode(errors="surrogateescape")))
        inside = inside[:, rng.choice(inside.shape[1], _SAMPLES, replace=False)]
    return CaseFacts(
        size=as_size(labels.shape),
        spacing=geometry.spacing,
        nonzero_share=tuple(float((channel != 0).mean()) for channel in image),
        foreground=inside,
        brightest=tuple(high for _, high in intensity_ranges(volume.voxels)),
        coverage=tuple(label_coverage(labels, len(task.labels))),
        boxes=_boxes(labels, len(task.segmented), geometry.spacing),
        oriented=not np.allclose(volume.affine, np.diag(np.abs(np.diag(volume.affine)))),
        id=case.id,
        digest=digest_of_bytes([str(volume.voxels.shape).encode(), np.ascontiguousarray(volume.voxels).data]),
        warnings=_warnings(case, task, volume, outside=crop is not None),
    )


def _warnings(case: Case, task: Task, volume: Volume, *, outside: bool) -> tuple[ScanWarning, ...]:
    found = [ScanWarning(kind, text) for kind, text in header_warnings(case.image, task.reading).items()]
    if outside:
        found.append(ScanWarning("label_outside", "labels are outside the non-zero part of the scan"))
    constant = [
        name
        for name, channel in zip(task.modalities, volume.voxels, strict=True)
        if channel.min() == channel.max()
    ]
    if constant:
        found.append(ScanWarning("constant_image", f"{listed(constant)} is constant"))
    return tuple(found)


def _boxes(labels: Labels, count: int, spacing: Spacing) -> tuple[Box | None, ...]:
    found = ndimage.find_objects(labels, max_label=count - 1)
    return tuple(
        box
        and Box(
            as_spacing([mm * side.start for mm, side in zip(spacing, box, strict=True)]),
            as_spacing([mm * side.stop for mm, side in zip(spacing, box, strict=True)]),
        )
        for box in found
    )
