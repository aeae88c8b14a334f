"""A folder of scans of which some are odd, bad or another's: each is named, and the others are done."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from app.core.csv_file import read_csv
from app.core.errors import InputError
from app.core.files import read_json
from app.core.plan import Normalisation
from app.core.scan_warning import ScanWarning, warning_lines
from app.data.plan.fingerprint import read_fingerprint
from app.data.prepare.cache import Cache
from app.data.prepare.prepare import prepare
from app.data.sets.decathlon import read_task
from app.infer.batch.manifest import Manifest
from app.infer.batch.predict import Predicted, predict_scans
from app.infer.scan.segmenter import Segmenter
from app.infer.scan.warnings import scan_warnings
from app.io.privacy import known_as
from app.io.volumes import Volume
from tests.support.config import CUBES
from tests.support.networks import SLIDING
from tests.support.runs import NIFTI
from tests.support.volumes import MakeTask, write_series

SHAPE = (12, 11, 10)


def bright(windows: torch.Tensor) -> torch.Tensor:
    """Logits of a network for which what is bright is the label."""
    return torch.cat([1.5 - windows, windows - 1.5], dim=1)


SEGMENTER = Segmenter((bright,), (CUBES,), ("MRI",), ("background", "blob"), SLIDING)


def save(path: Path, seed: int, shape: tuple[int, int, int] = SHAPE, affine: Any = None) -> Path:
    """A scan of noise with a bright box."""
    voxels = np.random.default_rng(seed).normal(50, 5, shape).astype(np.float32)
    voxels[3:6, 4:7, 2:5] += 100
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def predict(scans: list[Path], output: Path, segmenter: Segmenter = SEGMENTER, **settings: Any) -> Predicted:
    return predict_scans(segmenter, scans, output, replace(NIFTI, **settings), Manifest(output, {}))


def content(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_a_label_map_is_kept_for_the_same_content_and_no_other(tmp_path: Path) -> None:
    output = tmp_path / "out"
    first, other = save(tmp_path / "a" / "scan.nii.gz", 1), save(tmp_path / "b" / "scan.nii.gz", 2)
    predict([first], output)
    before = (output / "scan.nii.gz").read_bytes()
    clashing = predict([other], output)
    assert not clashing.written and str(first) in clashing.failed[other]
    assert "predict.overwrite" in clashing.failed[other]
    assert (output / "scan.nii.gz").read_bytes() == before
    assert (
        content(output)["cases"]["scan"]["input"] == str(first) and str(other) in content(output)["refused"]
    )
    moved = tmp_path / "c" / "scan.nii.gz"
    moved.parent.mkdir()
    moved.write_bytes(first.read_bytes())
    assert predict([moved], output).kept == (moved,)  # the same content in another place
    save(first, 3, (9, 9, 9))
    replaced = predict([first], output)
    assert replaced.again == (first,) and len(replaced.written) == 1
    assert nib.load(output / "scan.nii.gz").shape == (9, 9, 9)
    assert predict([first], output).kept == (first,)


def test_a_label_map_of_another_patient_is_kept_if_their_names_are_hidden(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from tests.support import dicom

    output, before = tmp_path / "out", b""
    for number, name in enumerate(("Doe_Jane", "Roe_John")):
        voxels = np.random.default_rng(number).normal(50, 5, SHAPE).round().astype(np.int16)
        made = dicom.slices(voxels, series=name, PatientName=name.replace("_", "^"))
        scan = dicom.save(tmp_path / name / "series", made)
        aliases = known_as({scan: "series"}, anonymous=True)
        done = predict_scans(SEGMENTER, [scan], output, NIFTI, Manifest(output, {}), aliases=aliases)
        assert len(done.failed) == number and not done.again
        before = before or (output / "series.nii.gz").read_bytes()
    assert (output / "series.nii.gz").read_bytes() == before
    text = (output / "manifest.json").read_text(encoding="utf-8")
    assert len(content(output)["refused"]) == 1 and "Doe" not in text and "Roe" not in text


def test_a_label_map_without_record_is_kept_on_the_same_grid_alone(tmp_path: Path) -> None:
    output, scan = tmp_path / "out", save(tmp_path / "scan.nii.gz", 1)
    predict([scan], output)
    (output / "manifest.json").unlink()
    assert predict([scan], output).kept == (scan,)
    larger = save(tmp_path / "b" / "scan.nii.gz", 1, (13, 11, 10))
    (output / "manifest.json").unlink(missing_ok=True)
    assert list(predict([larger], output).failed) == [larger]


def test_two_scans_of_one_name_are_refused_and_the_others_done(tmp_path: Path) -> None:
    one, two = save(tmp_path / "a" / "scan.nii.gz", 1), save(tmp_path / "b" / "scan.nii.gz", 2)
    third = save(tmp_path / "third.nii.gz", 3)
    done = predict([one, two, third], tmp_path / "out")
    assert set(done.failed) == {one, two} and [path.name for path in done.written] == ["third.nii.gz"]
    assert str(one) in done.failed[two] and str(two) in done.failed[one]
    assert set(content(tmp_path / "out")["refused"]) == {str(one), str(two)}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (TypeError("odd"), "TypeError: odd"),
        (FileNotFoundError(2, "gone", "out/b.nii.gz"), "out/b.nii.gz: gone"),
    ],
)
def test_whatever_is_wrong_with_a_scan_the_others_are_done(
    tmp_path: Path, error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = [save(tmp_path / f"{name}.nii.gz", seed) for seed, name in enumerate("abc")]
    segment = Segmenter.segment

    def fail(self: Segmenter, prepared: Any, arrays: Any) -> Any:
        if prepared.geometry.scan != SHAPE:
            raise error
        return segment(self, prepared, arrays)

    save(scans[1], 1, (9, 9, 9))
    monkeypatch.setattr(Segmenter, "segment", fail)
    done = predict(scans, tmp_path / "out")
    assert [path.name for path in done.written] == ["a.nii.gz", "c.nii.gz"]
    assert told in done.failed[scans[1]] and str(scans[1]) in done.failed[scans[1]]
    cases = content(tmp_path / "out")["cases"]
    assert [cases[name]["status"] for name in "abc"] == ["written", "failed", "written"]


def test_a_scan_in_wrong_units_is_named_with_its_size(tmp_path: Path) -> None:
    """Voxels of 5 m would be 10^12 voxels of the network's grid."""
    huge = save(tmp_path / "a.nii.gz", 1, affine=np.diag([5000, 5000, 5000, 1]))
    good = save(tmp_path / "b.nii.gz", 2)
    done = predict([huge, good], tmp_path / "out")
    assert [path.name for path in done.written] == ["b.nii.gz"]
    for token in ("10x11x12", "5000 x 5000 x 5000 mm", "50000x55000x60000", "1 x 1 x 1 mm", "millimetres"):
        assert token in done.failed[huge]


def test_a_scan_that_is_no_series_does_not_stop_series_from_becoming_dicom(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    voxels = np.random.default_rng(0).normal(50, 5, SHAPE).round().astype(np.int16)
    series = write_series(tmp_path / "a", voxels, np.diag([2.0, 2, 3, 1]))
    other = save(tmp_path / "b.nii.gz", 2)
    done = predict([other, series], tmp_path / "out", format="dicom")
    assert [path.name for path in done.written] == ["a.dcm"]
    assert list(done.failed) == [other] and "predict.format" in done.failed[other]
    cases = content(tmp_path / "out")["cases"]
    assert {name: facts["status"] for name, facts in cases.items()} == {"a": "written", "b": "failed"}


def test_an_empty_scan_is_background_and_named(tmp_path: Path) -> None:
    for value in (0, 7):
        path = tmp_path / f"{value}.nii.gz"
        nib.save(nib.Nifti1Image(np.full(SHAPE, value, np.float32), np.eye(4)), path)
        done = predict([path], tmp_path / "out", probabilities=True)
        assert [warning.kind for warning in done.warnings[path]] == ["empty"]
        assert not np.asarray(nib.load(done.written[0]).dataobj).any()
        chances = nib.load(tmp_path / "out" / "probabilities" / path.name).get_fdata()
        assert chances.shape == (*SHAPE, 2) and (chances[..., 0] == 1).all()


def test_warnings_of_headers_are_in_the_manifest_and_counted(tmp_path: Path) -> None:
    scans = [save(tmp_path / f"{name}.nii.gz", seed) for seed, name in enumerate("ab")]
    image = nib.load(scans[0])
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), None, image.header), scans[0])
    done = predict(scans, tmp_path / "out")
    assert [warning.kind for warning in done.warnings[scans[0]]] == ["no_orientation"] and not done.warnings[
        scans[1]
    ]
    (told,) = content(tmp_path / "out")["cases"]["a"]["warnings"]
    assert list(warning_lines({scan.name: done.warnings[scan] for scan in scans})) == [
        f"1 of 2 scans (a.nii.gz): {told}"
    ]


def test_a_label_called_case_has_a_column_of_its_own(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, {})
    manifest.record("a", status="written", volumes_ml={"case": 1.5, "b": 2.0})
    manifest.close()
    (row,) = read_csv(tmp_path / "volumes_ml.csv")
    assert row == {"case": "a", "case (label)": "1.5", "b": "2.0"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_segmented_and_recorded(tmp_path: Path) -> None:
    output, name = tmp_path / "out", os.fsdecode(b"caf\xe9")
    manifest = Manifest(output, {})
    predict_scans(SEGMENTER, [save(tmp_path / f"{name}.nii.gz", 0)], output, NIFTI, manifest)
    manifest.close()
    assert (output / f"{name}.nii.gz").is_file() and list(read_json(output / "manifest.json")["cases"]) == [
        name
    ]
    assert [row["case"] for row in read_csv(output / "volumes_ml.csv")] == [r"caf\udce9"]


def test_warnings_are_counted_by_kind() -> None:
    far = [ScanWarning("spacing", f"spacing {mm} mm") for mm in (5, 6)]
    lines = warning_lines(
        {"a": [far[0], ScanWarning("empty", "nothing")], "b": [far[1]], "c": [], "d": [far[0]]}
    )
    assert list(lines) == ["3 of 4 scans (a, b, d): for example spacing 5 mm", "1 of 4 scans (a): nothing"]


def test_volumes_of_all_scans_are_one_table(tmp_path: Path) -> None:
    output = tmp_path / "out"
    manifest = Manifest(output, {})
    scans = [save(tmp_path / f"{name}.nii.gz", seed) for seed, name in enumerate("ab")]
    predict_scans(SEGMENTER, scans, output, NIFTI, manifest)
    manifest.close()
    rows = read_csv(output / "volumes_ml.csv")
    assert [row["case"] for row in rows] == ["a", "b"]
    voxels = [int(np.asarray(nib.load(output / f"{row['case']}.nii.gz").dataobj).sum()) for row in rows]
    assert [float(row["blob"]) for row in rows] == pytest.approx([count / 1000 for count in voxels], abs=1e-4)
    assert min(voxels) > 0


def test_no_training_scan_causes_a_warning_whatever_its_range(make_task: MakeTask, tmp_path: Path) -> None:
    """Dark labels in bright scans, and values below zero."""
    folder = make_task(cases=3)
    for number, path in enumerate(sorted((folder / "imagesTr").iterdir())):
        scan = np.asarray(nib.load(path).dataobj)
        nib.save(nib.Nifti1Image(900 - (500 + 20 * number) * scan, np.eye(4)), path)
    cache = Cache(tmp_path / "cache", read_task(folder), workers=1)
    brightest = read_fingerprint(cache).brightest
    plan = replace(CUBES, normalisation=(Normalisation("zscore"),), brightest=brightest)

    def warnings_of(voxels: np.ndarray, brightest: tuple[tuple[float, float], ...]) -> list[str]:
        volume, own = Volume(np.eye(4), voxels.astype(np.float32)[None]), replace(plan, brightest=brightest)
        return [warning.kind for warning in scan_warnings(volume, prepare(volume, None, own), own, ["MR"])]

    for path in (folder / "imagesTr").iterdir():
        assert warnings_of(np.asarray(nib.load(path).dataobj), brightest) == []
    below = np.random.default_rng(0).uniform(-500, -90, (20, 20, 20))
    assert warnings_of(below, ((-95.0, -85.0),)) == []
    assert warnings_of(-100 * below, ((-95.0, -85.0),)) == ["intensity_MR"]


@pytest.mark.parametrize(
    ("order", "kinds"), [((0, 1), []), ((1, 0), ["channels_swapped"]), ((1, 1), ["intensity_CT"])]
)
def test_swapped_channels_are_suspected(order: tuple[int, int], kinds: list[str]) -> None:
    rng = np.random.default_rng(0)
    both = np.stack([rng.uniform(-200, 300, (20, 20, 20)), rng.uniform(0, 12000, (20, 20, 20))])
    how = (Normalisation("ct", -100, 200, 50, 80), Normalisation("zscore"))
    plan = replace(CUBES, normalisation=how, brightest=((190, 210), (9000, 15000)))
    volume = Volume(np.eye(4), both[list(order)].astype(np.float32))
    found = scan_warnings(volume, prepare(volume, None, plan), plan, ["CT", "PET"])
    assert [warning.kind for warning in found] == kinds


def test_a_scan_is_never_overwritten_by_its_label_map(tmp_path: Path) -> None:
    scan = save(tmp_path / "scan.nii.gz", 1)
    with pytest.raises(InputError, match=r"predict\.output"):
        predict([scan], tmp_path)


@pytest.mark.parametrize("text", ["[]", '{"cases": ["a"]}'])
def test_a_manifest_of_another_program_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json.*predict\.output"):
        Manifest(tmp_path, {})
