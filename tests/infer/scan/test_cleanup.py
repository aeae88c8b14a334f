import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from omegaconf import OmegaConf

from app.cli.modes.cleanup import run as choose
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.infer.batch.choose_cleanup import choose_cleanup
from app.infer.scan.cleanup import NO_CLEANUP, Cleanup, clean, read_cleanup, write_cleanup
from app.models.checkpoint import write_checkpoint
from tests.support.networks import make_bench
from tests.support.volumes import MakeTask

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
    with pytest.raises(InputError, match=r"none.cleanup\.json") as error:
        read_cleanup([tmp_path / "none"])
    assert "largest_component" in str(error.value)  # the key that is missing


def write_held_out(run: Path, reference: np.ndarray) -> None:
    """Two held-out cases alike, each predicted with a stray voxel of label 1 in a corner."""
    predicted, files = reference.copy(), {}
    predicted[11, 0, 0] = 1
    for case in ("x", "y"):
        for folder, voxels in (("predictions", predicted), ("labels", reference)):
            path = run / folder / f"{case}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        path = str(run / "labels" / f"{case}.nii.gz")
        files[case] = {"image": path, "label": path}
    write_json(run / "split.json", {"fold": 0, "train": [], "validation": ["x", "y"], "files": files})


def test_a_label_of_no_held_out_case_has_no_dice(
    tmp_path: Path, make_task: MakeTask, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, run = make_bench(make_task(cases=3), tmp_path / "cache"), tmp_path / "run"
    write_checkpoint(run / "last.pt", replace(bench.checkpoint(bench.state()), labels=NAMES))
    reference = np.zeros((12, 12, 12), dtype=np.uint8)
    reference[1:4, 1:4, 1:4] = 1
    write_held_out(run, reference)
    choose(OmegaConf.create({"cleanup": {"runs": str(run)}}))
    lines = capsys.readouterr().out.splitlines()
    rows = {name: [line for line in lines if re.match(rf"\W*{name}\W", line)] for name in NAMES[1:]}
    assert [re.findall(r"\d\.\d+", line) for line in rows["a"]] == [["0.9818", "1.0000", "0.9818", "1.0000"]]
    assert [re.findall(r"\d", line) for line in rows["b"]] == [[]]
    assert read_cleanup([run]) == Cleanup(("a",), ())
    dice = read_json(run / "cleanup.json")["evidence"]["dice"]
    assert dice["a"]["largest component"] == 1.0 and dice["b"] == {}


def test_a_step_is_chosen_only_where_it_gains(tmp_path: Path) -> None:
    """Label a has a stray voxel in every prediction; label b's second component is right."""
    reference = np.zeros((12, 12, 12), dtype=np.uint8)
    reference[1:4, 1:4, 1:4] = 1
    reference[6:8, 6:8, 6:8], reference[10, 10, 10] = 2, 2
    write_held_out(tmp_path, reference)
    cleanup, evidence = choose_cleanup([tmp_path], NAMES, range(len(NAMES) + 1))
    assert cleanup == Cleanup(("a",), ())
    assert evidence["dice"]["a"]["largest component"] == 1.0 > evidence["dice"]["a"]["as predicted"]
    assert evidence["dice"]["b"]["largest component"] < evidence["dice"]["b"]["as predicted"] == 1.0
    (tmp_path / "predictions" / "y.nii.gz").unlink()
    with pytest.raises(InputError, match=r"predictions.y\.nii\.gz"):
        choose_cleanup([tmp_path], NAMES, range(len(NAMES) + 1))
