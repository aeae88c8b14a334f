"""Volumes with rods and plates where they are said to be."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.errors import InputError
from app.data.sets.decathlon import read_task
from app.data.sets.planted import PlantedSettings, generate_planted

RODS = PlantedSettings(cases=2, seed=0, size=(10, 20, 30), axes=(0,), share=0.3, contrast=2.0)


def volumes(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image and label of the first case as (D, H, W)."""
    image, label = (nib.load(folder / kind / "planted_001.nii.gz") for kind in ("imagesTr", "labelsTr"))
    return np.asarray(image.dataobj).T, np.asarray(label.dataobj).T


def test_rods_run_along_the_planted_axis_and_end_nowhere(tmp_path: Path) -> None:
    generate_planted(tmp_path / "rods", settings=RODS)
    image, label = volumes(tmp_path / "rods")
    assert label.shape == (10, 20, 30)
    assert (label == label[:1]).all()
    assert 0.25 < label.mean() < 0.35
    assert 0.2 < (label[:, 1:] != label[:, :-1]).mean() < 0.6
    inside, outside = image[label == 1], image[label == 0]
    assert (inside.mean() - outside.mean()) / outside.std() == pytest.approx(2.0, abs=0.1)


def test_plates_lie_in_both_planted_axes(tmp_path: Path) -> None:
    generate_planted(tmp_path / "plates", settings=dataclasses.replace(RODS, axes=(0, 2)))
    _, label = volumes(tmp_path / "plates")
    assert (label == label[:1, :, :1]).all()
    assert read_task(tmp_path / "plates").labels == ("background", "plate")


@pytest.mark.parametrize("change", [{"axes": (0, 1, 2)}, {"axes": (3,)}, {"share": 1.0}, {"cases": 0}])
def test_what_cannot_be_drawn_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"task\.planted"):
        dataclasses.replace(RODS, **change)
