"""The made-up data set: readable, varied, reproducible, and whole or absent."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from app.core.errors import InputError
from app.data.sets.decathlon import read_task
from app.data.sets.phantom import PhantomSettings, generate_phantom

SMALL = PhantomSettings(cases=6, seed=3, size=(20, 28, 28), spacing=(4.0, 3.0, 3.0))
TWO = dataclasses.replace(SMALL, cases=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small cases."""
    path = tmp_path_factory.mktemp("phantom") / "made" / "phantom"
    generate_phantom(path, settings=SMALL)
    return path


def images(folder: Path, kind: str) -> list[Any]:
    return [nib.load(path) for path in sorted((folder / kind).iterdir())]


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_is_a_decathlon_folder(folder: Path) -> None:
    task = read_task(folder)
    assert task.modalities == ("MRI",)
    assert task.labels == ("background", "organ", "vessel", "lesion")
    assert [case.id for case in task.cases] == [f"phantom_{number:03d}" for number in range(1, 7)]
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert (facts["numTraining"], facts["test"], facts["licence"]) == (6, [], "CC0")


def test_image_and_label_share_one_grid(folder: Path) -> None:
    for image, label in zip(images(folder, "imagesTr"), images(folder, "labelsTr"), strict=True):
        assert image.shape == label.shape
        np.testing.assert_array_equal(image.affine, label.affine)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)


def test_every_case_has_every_label(folder: Path) -> None:
    for label in images(folder, "labelsTr"):
        assert np.unique(label.dataobj).tolist() == [0, 1, 2, 3]


def test_scanners_differ(folder: Path) -> None:
    affines = [image.affine for image in images(folder, "imagesTr")]
    assert {"".join(nib.aff2axcodes(affine)) for affine in affines} == {"RAS", "LPS", "ASL", "LAS", "SPR"}
    oblique = [bool(nib.affines.obliquity(affine).max() > 1e-3) for affine in affines]
    assert oblique == [False, False, False, False, True, False]
    spacings = [sorted(nib.affines.voxel_sizes(affine).round(3)) for affine in affines]
    assert len({tuple(spacing) for spacing in spacings}) == 6
    assert len({image.shape for image in images(folder, "imagesTr")}) == 6


def test_anatomy_is_upright_whatever_the_orientation(folder: Path) -> None:
    """The organ lies on the patient's right, where the scan is brighter than air and noisy."""
    for image, label in zip(images(folder, "imagesTr"), images(folder, "labelsTr"), strict=True):
        organ = np.argwhere(np.asarray(label.dataobj) > 0)
        middle = nib.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
        assert nib.affines.apply_affine(image.affine, organ.mean(axis=0))[0] > middle[0]
        voxels = np.asarray(image.dataobj)
        assert voxels[np.asarray(label.dataobj) > 0].mean() > voxels.mean()


def test_same_settings_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    generate_phantom(tmp_path / "again", settings=SMALL)
    assert digests(tmp_path / "again") == digests(folder)


def test_other_seed_gives_other_scans(folder: Path, tmp_path: Path) -> None:
    generate_phantom(tmp_path / "other", settings=dataclasses.replace(TWO, seed=4))
    first, other = digests(folder), digests(tmp_path / "other")
    assert not set(first.values()) & set(other.values())


def test_fewer_cases_are_the_first_of_more(folder: Path, tmp_path: Path) -> None:
    generate_phantom(tmp_path / "two", settings=TWO)
    name = "imagesTr/phantom_002.nii.gz"
    assert digests(tmp_path / "two")[name] == digests(folder)[name]


def test_what_is_there_already_stays(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    generate_phantom(folder, settings=SMALL)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_other_content_is_refused_and_kept(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for place, numbers in ((tmp_path, {"2"}), (folder, {"2", "6"})):  # cases wanted, cases there are
        with pytest.raises(InputError, match=re.escape(str(place))) as error:
            generate_phantom(place, settings=TWO)
        assert set(re.findall(r"\bcases\W+(\d+)\b", str(error.value))) == numbers
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, saved = nib.save, []

    def stopped_at_the_third(image: Any, path: Path) -> None:
        saved.append(path)
        if len(saved) == 3:
            raise KeyboardInterrupt
        save(image, path)

    monkeypatch.setattr(nib, "save", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        generate_phantom(tmp_path / "phantom", settings=TWO)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "tokens"),
    [
        ({"cases": 0}, ["phantom", "cases", "0"]),
        ({"size": (8, 28, 28)}, ["phantom.size", "8, 28, 28"]),
        ({"spacing": (0.0, 1.0, 1.0)}, ["phantom.spacing", "0.0, 1.0, 1.0"]),
    ],
)
def test_impossible_settings_are_named(change: dict[str, Any], tokens: list[str]) -> None:
    with pytest.raises(InputError) as error:
        dataclasses.replace(SMALL, **change)
    for token in tokens:
        assert token in str(error.value)
