import logging
import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from app.cli.modes.predict import _report
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.reading import Reading
from app.infer.batch.manifest import Manifest, describe_segmenter
from app.infer.batch.outputs import OutputSettings
from app.infer.batch.predict import Predicted, predict_scans
from app.infer.batch.scans import find_scans
from app.infer.engines.eager import EagerEngine
from app.infer.scan.cleanup import Cleanup
from app.infer.scan.segmenter import Segmenter
from app.io.privacy import known_as
from app.io.suffixes import SUFFIXES
from app.io.volumes import read_volume, write_voxels
from app.models.checkpoint import write_checkpoint
from tests.support.networks import SLIDING, Slope, make_bench
from tests.support.runs import NIFTI
from tests.support.volumes import ORIENTATIONS, MakeTask, in_orientation, write_series

pytestmark = pytest.mark.e2e


def predict(
    segmenter: Segmenter, scans: list[Path], output: Path, settings: OutputSettings = NIFTI
) -> Predicted:
    return predict_scans(segmenter, scans, output, settings, Manifest(output, {}))


def list_scans(sources: list[Path], output: Path) -> list[Path]:
    return find_scans(sources, output, Reading()).scans


@pytest.fixture
def segmenter(make_task: MakeTask, tmp_path: Path) -> Segmenter:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    return Segmenter.load(tmp_path / "run", sliding=SLIDING, device=torch.device("cpu"))


def test_a_bad_scan_does_not_stop_the_rest(segmenter: Segmenter, make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=3) / "imagesTr"
    (folder / "blob_002.nii.gz").write_bytes(b"broken")
    (folder / "._blob_001.nii.gz").write_bytes(b"AppleDouble")
    done = predict(segmenter, list_scans([folder], tmp_path / "out"), tmp_path / "out")
    assert [path.name for path in done.written] == ["blob_001.nii.gz", "blob_003.nii.gz"]
    assert list(done.failed) == [folder / "blob_002.nii.gz"]
    again = predict(segmenter, list_scans([folder], tmp_path / "out"), tmp_path / "out")
    assert len(again.kept) == 2 and not again.written
    for name in ("blob_001.nii.gz", "blob_003.nii.gz"):
        scan, mask = nib.load(folder / name), nib.load(tmp_path / "out" / name)
        assert mask.shape == scan.shape and mask.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(mask.affine, scan.affine)


@pytest.mark.parametrize("codes", ORIENTATIONS[::7])
def test_the_mask_does_not_depend_on_how_the_scan_is_stored(
    segmenter: Segmenter, tmp_path: Path, codes: str
) -> None:
    image = np.random.default_rng(0).normal(size=(17, 21, 16)).astype(np.float32)
    masks = []
    for orientation in ("SAR", codes):
        voxels, affine = in_orientation(image, (1.2, 0.9, 1.0), orientation)
        nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "scan.nii.gz")
        masks.append((segmenter(tmp_path / "scan.nii.gz"), orientation))
    canonical = in_orientation(masks[0][0].astype(np.float32), (1.2, 0.9, 1.0), codes)[0]
    np.testing.assert_array_equal(masks[1][0], canonical)


def test_a_kill_between_label_map_and_record_loses_no_record(
    segmenter: Segmenter, make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, output = list_scans([make_task(cases=3) / "imagesTr"], tmp_path / "out"), tmp_path / "out"
    record = Manifest.record

    def killed(self: Manifest, case: str, *, status: str, **facts: object) -> None:
        if (case, status) == ("blob_002", "written"):
            raise KeyboardInterrupt
        record(self, case, status=status, **facts)

    monkeypatch.setattr(Manifest, "record", killed)
    with pytest.raises(KeyboardInterrupt):
        predict(segmenter, scans, output)
    monkeypatch.undo()
    assert (output / "blob_002.nii.gz").is_file()
    done = predict(segmenter, scans, output)
    assert [path.name for path in done.written] == ["blob_002.nii.gz", "blob_003.nii.gz"]
    cases = read_json(output / "manifest.json")["cases"]
    assert [cases[f"blob_00{n}"]["status"] for n in (1, 2, 3)] == ["written"] * 3


def test_wrong_input_is_named(segmenter: Segmenter, make_task: MakeTask, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, tokens in (("nowhere", ()), ("empty", SUFFIXES)):
        with pytest.raises(InputError, match=r"predict\.input") as error:
            list_scans([tmp_path / name], tmp_path / "out")
        for token in (str(tmp_path / name), *tokens):
            assert token in str(error.value)
    two = make_task(cases=1, channels=2, name="Task91_Two") / "imagesTr" / "blob_001.nii.gz"
    with pytest.raises(InputError, match=re.escape(str(two))) as error:
        segmenter(two)
    facts = str(error.value).replace(str(two), "")
    assert "MRI" in facts and re.findall(r"\d+", facts) == ["2", "1"]  # channels found, channels wanted
    with pytest.raises(InputError, match="weights") as error:
        Segmenter.load(tmp_path, sliding=SLIDING, device=torch.device("cpu"), weights="first")
    for token in ("first", "last", "best"):
        assert token in str(error.value)


def test_label_maps_among_the_scans_are_no_scans(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for name in ("a.nii.gz", "b/ct.nii.gz", "masks/a.nii.gz", "masks/later/a.nii.gz"):
        (scans / name).parent.mkdir(parents=True, exist_ok=True)
        (scans / name).write_bytes(b"")
    assert list_scans([scans], scans / "masks") == [scans / "a.nii.gz", scans / "b"]
    assert list_scans([scans], scans / "b" / ".." / "masks" / "later") == [scans / "a.nii.gz", scans / "b"]
    assert list_scans([scans / "masks"], scans / "masks" / "later") == [scans / "masks" / "a.nii.gz"]
    assert list_scans([scans], tmp_path / "elsewhere") == [scans / "a.nii.gz", scans / "b", scans / "masks"]


def test_a_scan_is_never_overwritten_by_its_mask(segmenter: Segmenter, make_task: MakeTask) -> None:
    scan = make_task(cases=1) / "imagesTr" / "blob_001.nii.gz"
    before = scan.read_bytes()
    with pytest.raises(InputError, match=r"predict\.output") as error:
        predict(segmenter, [scan], scan.parent)
    assert str(scan) in str(error.value) and scan.read_bytes() == before


OBLIQUE = np.array([[0.8, -0.6, 0, 5], [0.6, 0.8, 0, -7], [0, 0, 1.25, 11], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("source", [".nii.gz", ".mha"])
def test_label_maps_lie_where_their_scan_lies(
    segmenter: Segmenter, tmp_path: Path, suffix: str, source: str
) -> None:
    image = np.random.default_rng(0).normal(size=(17, 21, 16)).astype(np.float32)
    nib.save(nib.Nifti1Image(image, OBLIQUE), tmp_path / "scan.nii.gz")
    write_voxels(tmp_path / f"scan{source}", image, like=tmp_path / "scan.nii.gz")
    settings = replace(NIFTI, format=suffix[1:])
    done = predict(segmenter, [tmp_path / f"scan{source}"], tmp_path / "out", settings)
    (path,) = done.written
    assert path.name == f"scan{suffix}"
    np.testing.assert_allclose(read_volume(path).affine, OBLIQUE, atol=1e-6)
    theirs, ours = sitk.ReadImage(str(tmp_path / f"scan{source}")), sitk.ReadImage(str(path))
    assert ours.GetSize() == theirs.GetSize()
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, name)(), getattr(theirs, name)(), atol=1e-6)


def test_probabilities_and_entropy_fit_the_labels(
    segmenter: Segmenter, make_task: MakeTask, tmp_path: Path
) -> None:
    scan = make_task(cases=1, affine=OBLIQUE) / "imagesTr" / "blob_001.nii.gz"
    settings = OutputSettings("nii.gz", probabilities=True, entropy=True, overwrite=False)
    (path,) = predict(segmenter, [scan], tmp_path / "out", settings).written
    labels = np.asarray(nib.load(path).dataobj)
    probabilities = nib.load(tmp_path / "out" / "probabilities" / path.name).get_fdata()
    entropy = nib.load(tmp_path / "out" / "entropy" / path.name).get_fdata()
    assert probabilities.shape == (*labels.shape, 2) and entropy.shape == labels.shape
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(-1), labels)
    p = probabilities[..., 1].clip(1e-12, 1 - 1e-12)
    np.testing.assert_allclose(entropy, -p * np.log2(p) - (1 - p) * np.log2(1 - p), atol=1e-4)
    assert predict(segmenter, [scan], tmp_path / "out", settings).bare == ()
    (tmp_path / "out" / "entropy" / path.name).unlink()
    assert predict(segmenter, [scan], tmp_path / "out", settings).bare == (scan,)


def test_the_manifest_tells_volumes_times_and_faults(
    segmenter: Segmenter, make_task: MakeTask, tmp_path: Path
) -> None:
    folder = make_task(cases=2, affine=np.diag([2.0, 1.0, 5.0, 1.0])) / "imagesTr"
    (folder / "blob_002.nii.gz").write_bytes(b"broken")
    output = tmp_path / "out"
    facts = describe_segmenter(segmenter, ["run"], "last", "torch")
    predict_scans(segmenter, list_scans([folder], tmp_path / "out"), output, NIFTI, Manifest(output, facts))
    manifest = read_json(output / "manifest.json")
    good, bad = manifest["cases"]["blob_001"], manifest["cases"]["blob_002"]
    voxels = int((np.asarray(nib.load(output / "blob_001.nii.gz").dataobj) == 1).sum())
    assert good["volumes_ml"] == {"blob": round(voxels * 0.01, 4)}
    assert set(good["seconds"]) == {"read", "prepare", "network", "restore", "confidence", "write"}
    (warning,) = good["warnings"]
    assert {"spacing", "5", "D"} <= set(re.findall(r"\w+", warning))
    assert all(0 <= good["confidence"][measure]["blob"] <= 1 for measure in ("soft_dice", "agreement"))
    assert bad["status"] == "failed"
    assert str(folder / "blob_002.nii.gz") in bad["error"] and "NIfTI" in bad["error"]
    assert {"app", "python", "torch"} <= set(manifest["versions"])
    assert (manifest["precision"], manifest["precision_set"]) == ("fp32", "auto")
    half = replace(segmenter, members=(EagerEngine(Slope(), torch.bfloat16),))
    assert describe_segmenter(half, ["run"], "last", "torch", "bf16")["precision"] == "bf16"
    assert manifest["digests"] == list(segmenter.digests) and manifest["labels"] == ["background", "blob"]
    predict(segmenter, [folder / "blob_001.nii.gz"], output)
    assert read_json(output / "manifest.json")["cases"]["blob_001"] == good


def test_label_maps_of_other_makers_or_unknown_ones_are_told(
    segmenter: Segmenter, make_task: MakeTask, tmp_path: Path
) -> None:
    folder, output = make_task(cases=3) / "imagesTr", tmp_path / "out"
    facts = describe_segmenter(segmenter, ["run"], "last", "torch")
    first, second, third = list_scans([folder], tmp_path / "out")
    predict_scans(segmenter, [first, second], output, NIFTI, Manifest(output, facts))
    (output / third.name).write_bytes(b"from elsewhere")
    cases = ["blob_001", "blob_002", "blob_003"]
    assert Manifest(output, facts).by_others(cases) == ["blob_003"]
    others = [
        describe_segmenter(replace(segmenter, digests=("other",)), ["run"], "last", "torch"),
        describe_segmenter(replace(segmenter, cleanup=Cleanup(("blob",), ())), ["run"], "last", "torch"),
        describe_segmenter(
            replace(segmenter, sliding=replace(SLIDING, mirror_axes=(2,))), ["run"], "last", "torch"
        ),
        {**facts, "engine": "openvino_int8"},
        {**facts, "precision": "bf16"},
        describe_segmenter(
            replace(segmenter, reading=Reading(("T2", "T1"))), ["run"], "last", "torch", trained=Reading()
        ),
    ]
    assert [Manifest(output, other).by_others(cases) for other in others] == [cases] * len(others)
    manifest = read_json(output / "manifest.json")
    for name in ("precision", "reading"):  # as versions that computed in float32 left it
        del manifest["cases"]["blob_001"]["made_by"][name]
    write_json(output / "manifest.json", manifest)
    assert Manifest(output, facts).by_others(cases) == ["blob_003"]
    assert Manifest(output, others[-1]).by_others(cases) == cases
    first.write_bytes(b"broken")
    settings = replace(NIFTI, overwrite=True)
    done = predict_scans(segmenter, [first, second], output, settings, Manifest(output, others[0]))
    assert list(done.failed) == [first] and (output / first.name).is_file()
    assert Manifest(output, others[0]).by_others(cases) == ["blob_001", "blob_003"]


def test_a_repeated_run_to_dicom_names_first_what_failed(
    segmenter: Segmenter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scans = [write_series(tmp_path / name, np.zeros((7, 8, 6), np.int16), OBLIQUE) for name in ("a.1", "b")]
    next(scans[1].glob("*_3.dcm")).unlink()
    output = tmp_path / "out"
    output.mkdir()
    (output / "a.1.dcm").write_bytes(b"")
    manifest = Manifest(output, {})
    settings = OutputSettings("dicom", probabilities=True, entropy=False, overwrite=False)
    done = predict_scans(segmenter, scans, output, settings, manifest)
    assert done.kept == done.bare == (scans[0],)
    with pytest.raises(InputError) as error:
        _report(done, known_as({scan: scan.name for scan in scans}, anonymous=True), output, manifest)
    assert re.findall(r"\d+", str(error.value)) == ["1", "2"]  # scans that failed, of all
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.levelno for record in told] == [logging.ERROR, logging.WARNING, logging.WARNING]
    failed, strange, bare = (record.getMessage() for record in told)
    assert str(scans[1]) in failed and done.failed[scans[1]] in failed
    for message in (strange, bare):
        assert "a.1" in message and "predict.overwrite" in message
    assert "probabilities" in bare and "probabilities" not in strange
