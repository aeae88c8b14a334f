"""Generated data sets in the Medical Segmentation Decathlon's layout, written completely or not at all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib

from app.core.errors import InputError
from app.core.files import atomic_path, read_json, write_json, writing
from app.core.progress import progress_bar
from app.core.temporary import temporary_folder
from app.data.sets.dataset_json import write_dataset

_FACTS = "generated.json"

Drawn = tuple[nib.Nifti1Image, nib.Nifti1Image]
"""The image and the label map of a case."""


def generate(
    folder: Path,
    *,
    facts: Mapping[str, Any],
    dataset: Mapping[str, Any],
    cases: Sequence[Callable[[], Drawn]],
) -> None:
    """Write `cases` and a dataset.json; keep an existing data set that was generated from the same `facts`.

    `dataset` has name, description, modality and labels as in dataset.json; cases are numbered from 1.

    Raises:
        InputError: the folder holds other files, or a data set generated from other facts.
    """
    if _holds(folder, facts):
        return
    names = [f"{dataset['name']}_{number:03d}.nii.gz" for number in range(1, len(cases) + 1)]
    with (
        writing(folder),
        temporary_folder(folder) as building,
        progress_bar(folder.name, len(cases)) as advance,
    ):
        for name, draw in zip(names, cases, strict=True):
            for kind, volume in zip(("imagesTr", "labelsTr"), draw(), strict=True):
                with atomic_path(building / kind / name) as path:
                    nib.save(volume, path)
            advance()
        pairs = [(building / "imagesTr" / name, building / "labelsTr" / name) for name in names]
        write_dataset(building, {**_COMMON, **dataset}, pairs)
        write_json(building / _FACTS, dict(facts))
        if not _holds(folder, facts):  # another process may have written it in the meantime
            building.replace(folder)


_COMMON = {"reference": "generated", "licence": "CC0", "tensorImageSize": "3D", "numTest": 0, "test": []}


def _holds(folder: Path, facts: Mapping[str, Any]) -> bool:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    found = read_json(folder / _FACTS) if (folder / _FACTS).is_file() else "other files"
    if found != facts:
        raise InputError(
            f"{folder}: holds {found}, wanted {facts} or no folder; move it or choose another folder"
        )
    return True
