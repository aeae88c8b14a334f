from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.errors import InputError
from app.core.files import write_json
from app.infer.choose_cleanup import choose_cleanup
from app.infer.cleanup import NO_CLEANUP, Cleanup, clean, read_cleanup, write_cleanup

NAMES = ("background", "a", "b")


def two_blobs() -> np.ndarray:
    """Label 1: a cube of 5 with one hole, one voxel of label 2 inside, and a stray voxel far away."""
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[1:6, 1:6, 1:6] = 1
    labels[3, 3, 3] = 0
    labels[2, 2, 2] = 2
    labels[10, 10, 10] = 1
    labels[8, 8, 8] = 2
    return labels


def test_only_the_largest_component_stays_and_holes_fill() -> None:
    labels = two_blobs()
    clean(labels, Cleanup(("a",), ("a",)), NAMES)
    assert (labels == 1).sum() == 124 and labels[3, 3, 3] == 1 and labels[10, 10, 10] == 0
    assert (labels == 2).sum() == 2 and labels[2, 2, 2] == 2


def test_nothing_is_done_unless_recorded() -> None:
    labels = two_blobs()
    clean(labels, NO_CLEANUP, NAMES)
    np.testing.assert_array_equal(labels, two_blobs())
    clean(empty := np.zeros((3, 3, 3), dtype=np.uint8), Cleanup(("a", "b"), ("a", "b")), NAMES)
    assert not empty.any()


def test_runs_have_to_agree(tmp_path: Path) -> None:
    for name in ("one", "two", "none"):
        (tmp_path / name).mkdir()
    write_cleanup(tmp_path / "one", Cleanup(("a", "b"), ("a",)), {})
    write_cleanup(tmp_path / "two", Cleanup(("b",), ("a",)), {})
    assert read_cleanup([tmp_path / "one", tmp_path / "two"]) == Cleanup(("b",), ("a",))
    assert read_cleanup([tmp_path / "one", tmp_path / "none"]) == NO_CLEANUP
    write_json(tmp_path / "none" / "cleanup.json", {"largest": 1})
    with pytest.raises(InputError, match="not a record of clean-up"):
        read_cleanup([tmp_path / "none"])


def test_a_step_is_chosen_only_where_it_gains(tmp_path: Path) -> None:
    """Label a has a stray voxel in every prediction; label b's second component is right."""
    files = {}
    for case in ("x", "y"):
        reference = np.zeros((12, 12, 12), dtype=np.uint8)
        reference[1:4, 1:4, 1:4] = 1
        reference[6:8, 6:8, 6:8], reference[10, 10, 10] = 2, 2
        predicted = reference.copy()
        predicted[11, 0, 0] = 1
        for folder, voxels in (("predictions", predicted), ("labels", reference)):
            path = tmp_path / folder / f"{case}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        path = str(tmp_path / "labels" / f"{case}.nii.gz")
        files[case] = {"image": path, "label": path}
    write_json(tmp_path / "split.json", {"fold": 0, "train": [], "validation": ["x", "y"], "files": files})
    cleanup, evidence = choose_cleanup([tmp_path], NAMES)
    assert cleanup == Cleanup(("a",), ())
    assert evidence["dice"]["a"]["largest component"] == 1.0 > evidence["dice"]["a"]["as predicted"]
    assert evidence["dice"]["b"]["largest component"] < evidence["dice"]["b"]["as predicted"] == 1.0
    (tmp_path / "predictions" / "y.nii.gz").unlink()
    with pytest.raises(InputError, match="no such prediction"):
        choose_cleanup([tmp_path], NAMES)
