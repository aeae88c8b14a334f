"""Writing a copy of a data set in which all faults that need no guess are repaired.

The source is only read. Files without faults are copied unchanged, so the copy is a complete data set.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.files import writing
from app.core.progress import progress_bar
from app.core.reading import Reading
from app.core.task import Case
from app.core.temporary import temporary_folder
from app.core.types import Labels
from app.data.doctor.check import Checked
from app.data.doctor.finding import Finding
from app.data.sets.dataset_json import write_dataset
from app.data.sets.decathlon import TaskFile, case_of
from app.data.sets.nnunet import is_nnunet
from app.io.grid import reoriented_voxels
from app.io.label_values import value_type
from app.io.scan_paths import case_name, scan_files
from app.io.suffixes import stem_of
from app.io.volumes import load_labels, load_volume, read_header, write_volume, write_voxels

_ROUNDED = {"fractional_labels", "float_labels"}


def repair_task(source: TaskFile, checked: Checked, target: Path, reading: Reading) -> int:
    """Write a repaired copy of a Decathlon folder to `target`; return the number of repaired cases.

    Raises:
        InputError: the source is an nnU-Net folder, or `target` exists or lies inside the source.
    """
    if is_nnunet(source.facts):
        raise InputError(f"check.repair: {source.folder}: got a folder of nnU-Net, which is only checked")
    if target.exists() or target.resolve().is_relative_to(source.folder.resolve()):
        raise InputError(f"check.repair: {target}: wanted a new folder outside {source.folder}")
    repaired, pairs = 0, []
    with writing(target), temporary_folder(target) as temporary:
        with progress_bar("Writing the copy", len(checked.cases)) as advance:
            for name, examined in checked.cases.items():
                repairs = [found for found in checked.findings.get(name, ()) if found.repairable]
                repaired += bool(repairs)
                pairs.append(_copy_case(examined.case, repairs, temporary, reading))
                advance(note=name)
        facts = {key: value for key, value in source.facts.items() if key != "test"}
        write_dataset(temporary, {**facts, "numTest": 0}, pairs, annotated=_annotated(source, checked))
        temporary.rename(target)
    return repaired


def _annotated(source: TaskFile, checked: Checked) -> dict[str, list[str]]:
    """Return, by case, the labels that its label map annotates, for cases whose entry names them."""
    called = {examined.case.own_id: name for name, examined in checked.cases.items()}
    entries = {case_of(source, entry).id: entry for entry in source.facts["training"]}
    return {
        called.get(case, case): entry["annotated"] for case, entry in entries.items() if "annotated" in entry
    }


def _copy_case(case: Case, repairs: Sequence[Finding], folder: Path, reading: Reading) -> tuple[Path, Path]:
    """Write the scan and the label map of a case, repaired or unchanged; return their paths."""
    kinds = {repair.kind for repair in repairs}
    assert case.label is not None
    image = folder / "imagesTr" / case.image.name.replace(case_name(case.image), case.id, 1)
    label = folder / "labelsTr" / case.label.name.replace(case_name(case.label), case.id, 1)
    if "not_finite" in kinds:
        image = image.with_name(f"{case.id}.nii.gz")
        _write_finite(case.image, image, reading)
    else:
        _copy(case.image, image)
    if kinds & {*_ROUNDED, "other_grid"}:
        label = label.with_name(f"{case.id}.nii.gz")
        _write_repaired(case, kinds, label, reading)
    else:
        _copy(case.label, label)
    return image, label


def _write_repaired(case: Case, kinds: set[str], target: Path, reading: Reading) -> None:
    """Write a repaired label map: with integer values, on the scan's grid, or both.

    To put it on the scan's grid, its axes are permuted and flipped to match the scan's.
    """
    assert case.label is not None
    voxels, affine = load_labels(case.label)
    like = case.label
    if "other_grid" in kinds:
        voxels, like = reoriented_voxels(voxels, affine, read_header(case.image, reading).affine), case.image
    if kinds & _ROUNDED:
        voxels = _rounded(voxels)
    write_voxels(target, voxels, like, reading)


def _rounded(voxels: NDArray[np.generic]) -> Labels:
    """Return the nearest whole numbers, in the smallest data type that holds them."""
    whole = np.rint(voxels)
    return np.asarray(whole, dtype=value_type([int(whole.max(initial=0))]))


def _write_finite(source: Path, target: Path, reading: Reading) -> None:
    """Write a scan in which NaN and infinity are replaced by the lowest finite value of their channel."""
    volume = load_volume(source, reading)
    for channel in volume.voxels:
        finite = np.isfinite(channel)
        channel[~finite] = channel[finite].min() if finite.any() else 0
    write_volume(target, volume.voxels, source, reading)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
        return
    for file in scan_files(source):
        shutil.copyfile(file, target.with_name(file.name.replace(stem_of(source), stem_of(target), 1)))
