"""Rules for faults between a scan and its label map, or in a header: one function per kind of fault."""

from collections.abc import Iterator

from app.core.types import by
from app.data.doctor.finding import Finding, error, note, warning
from app.io.grid import corners_apart_mm, needs_reorienting, reoriented_grid
from app.io.header import Header

SAME = 0.1  # voxels; grids that are no farther apart count as equal
REPAIRABLE = 1.0  # voxels; if grids are no farther apart, the label was certainly drawn on this scan

HEADER_ADVICE = {
    "forms_disagree": "compare both with the original images of the scanner",
    "sizes_disagree": "compare both with the original images of the scanner",
    "negative_spacing": "this spacing and the affine's directions are used; export the scan again",
    "no_orientation": "left and right are guessed; export the scan again with its orientation",
    "uneven_slices": "they are read as evenly spaced; task.slice_jitter sets the allowed deviation",
    "not_millimetres": "nothing to do if that is right",
    "unknown_unit": "they are read as millimetres; correct the header",
}
"""Advice by kind of warning about a header; app.io.header_warnings finds them."""
_NOTES = {"not_millimetres"}  # warnings that are notes, because the header is clear


def other_shape(image: Header, label: Header) -> Iterator[Finding]:
    """Report a label map whose number of voxels differs from the scan's."""
    size, _ = reoriented_grid(label.size, label.affine, image.affine)
    if label.channels != 1 or size != image.size:
        yield error(
            "other_shape",
            f"label has {by(label.size)} voxels, the scan {by(image.size)}",
            "resample the label onto the scan it was drawn on",
        )


def other_grid(image: Header, label: Header) -> Iterator[Finding]:
    """Report a label map with as many voxels as the scan but in other positions."""
    size, affine = reoriented_grid(label.size, label.affine, image.affine)
    if size != image.size:
        return
    apart_mm = corners_apart_mm(size, affine, image.affine)
    if apart_mm > SAME * min(image.spacing):
        near = apart_mm <= REPAIRABLE * min(image.spacing)
        yield error(
            "other_grid",
            f"label and scan are up to {apart_mm:.3g} mm apart",
            "check.repair gives the label the scan's geometry"
            if near
            else "find out which geometry is right, then resample or overwrite the other",
            repairable=near,
        )


def other_orientation(image: Header, label: Header) -> Iterator[Finding]:
    """Report a label map stored with another order or direction of axes than the scan."""
    if needs_reorienting(label.affine, image.affine):
        yield note(
            "other_orientation",
            f"label is stored as {label.orientation}, the scan as {image.orientation}",
            "nothing to do; the label is reoriented when it is read",
        )


def report_header_warnings(warnings: dict[str, str]) -> Iterator[Finding]:
    """Report facts that are missing or contradictory in a NIfTI header."""
    for kind, sentence in warnings.items():
        yield (note if kind in _NOTES else warning)(kind, sentence, HEADER_ADVICE[kind])


GRID_RULES = (other_shape, other_grid, other_orientation)
