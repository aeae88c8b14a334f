"""Cases to look at, read from a run folder or from any files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.core import run_folder
from app.core.errors import InputError
from app.core.listed import listed
from app.core.moved import UNMOVED, Moved
from app.core.reading import BY_NAME, Reading
from app.core.task import Case
from app.data.sets.recorded import recorded_case
from app.io.dicom_labels import holds_labels
from app.io.label_values import LARGEST_VALUE, count_values, listed_values, to_values, value_type
from app.io.privacy import known_as
from app.io.references import find_label_map, read_reference_map
from app.io.scan_paths import case_name
from app.io.volumes import LabelMap, Volume, check_same_grid, load_labels, load_volume, reorient_like
from app.report.read.ranking import notable_cases
from app.report.read.runs import Run, read_runs
from app.view.viewed_case import PREDICTION, REFERENCE, ViewedCase


def case_of_run(folder: Path, case: str | None, moved: Moved = UNMOVED) -> ViewedCase:
    """Read a held-out case of a run with its reference and prediction; by default a failure, else the worst.

    Raises:
        InputError: the run has no such case, or a file is missing or does not fit the scan.
    """
    (run,) = read_runs([folder.resolve()], moved)
    files: dict[str, Any] = (run.split or {}).get("files") or {}
    predicted = [name for name in files if run_folder.prediction_path(run.folder, name).is_file()]
    if not predicted:
        raise InputError(f"view.run: {folder}: has no predictions of cases named in {run_folder.SPLIT}")
    chosen = case or next((one.case for one in notable_cases(run) if one.case in predicted), predicted[0])
    if chosen not in predicted:
        raise InputError(
            f"view.case: got {chosen!r}, wanted a held-out case of {folder}: {listed(predicted)}"
        )
    held_out = recorded_case(run.folder, chosen, moved)
    scan = load_volume(held_out.image, _reading(run))
    path = run_folder.prediction_path(run.folder, chosen)
    maps = {REFERENCE: _reference(run, held_out, scan), PREDICTION: _label_values(path, scan, held_out.image)}
    return ViewedCase(f"{run.data_set}: {chosen}", scan, maps, run.label_values, run.ignored_value)


def case_of_files(scan: Path, labels: Sequence[Path]) -> ViewedCase:
    """Read a scan of any format with up to two label maps: one to show, or a reference and a prediction.

    Raises:
        InputError: a file cannot be read or does not fit the scan, or there are more than two label maps.
    """
    if len(labels) > 2:
        raise InputError(f"view.labels: got {len(labels)} label maps, wanted a reference and a prediction")
    volume = load_volume(scan)
    roles = (REFERENCE, PREDICTION) if len(labels) == 2 else (PREDICTION,)
    maps = {role: _label_values(path, volume, scan) for role, path in zip(roles, labels, strict=False)}
    title = known_as({scan: case_name(scan)}, anonymous=True)[scan].name
    return ViewedCase(title, volume, maps, {})


def _reading(run: Run) -> Reading:
    """Return how the run read its scans, so that channels have the order of training."""
    task = (run.config or {}).get("task") or {}
    channels = task.get("channels", BY_NAME)
    order = channels if isinstance(channels, str) else tuple(channels)
    modalities = tuple((run.split or {}).get("modalities", ()))
    return Reading(order, task.get("slice_jitter", Reading.slice_jitter), modalities)


def _reference(run: Run, case: Case, scan: Volume) -> LabelMap:
    """Return a reference with the label values that the run writes."""
    path, files = case.label, case.file_labels
    assert path is not None
    found = find_label_map(path) if path.exists() else None
    if found is None or (files is None and not holds_labels(found)):
        return _label_values(path, scan, case.image)
    names = (run.split or {}).get("labels") or ("background", *run.labels())  # older runs recorded no names
    own = read_reference_map(found, names, range(len(names)), scan, files)
    check_same_grid(own, scan, path, case.image)
    count = 1 + (max(files.classes) if files else len(names))
    return LabelMap(own.affine, to_values(own.voxels, run.predicted_values(count)))


def _label_values(path: Path, scan: Volume, image: Path) -> LabelMap:
    """Return a label map with the values of its file, on the grid of the scan.

    Raises:
        InputError: its grid differs from the scan's, or values are not whole numbers from 0 to 65 535.
    """
    found = find_label_map(path) if path.exists() else path
    if found is not None and holds_labels(found):
        raise InputError(f"{path}: is a DICOM segmentation or structure set, wanted NIfTI, NRRD or MetaImage")
    voxels, affine = load_labels(found or path)
    values = list(count_values(voxels))
    strange = [value for value in values if value % 1 or not 0 <= value <= LARGEST_VALUE]
    if strange:
        raise InputError(f"{path}: got values {listed_values(strange)}, wanted a label map of whole numbers")
    whole = np.asarray(voxels, dtype=value_type([int(value) for value in values]))
    label_map = reorient_like(LabelMap(affine, whole), scan)
    check_same_grid(label_map, scan, path, image)
    return label_map
