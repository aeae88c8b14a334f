from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from app.cli.config.build import network_builder
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.data.sets.recorded import recorded_cases
from app.infer.batch.case_dice import dice_of_cases, mean_over_labels
from app.infer.engines import absent, find_engine, missing_packages
from app.infer.engines.engine import Member
from app.infer.engines.parity import check_parity
from app.infer.export import bundle
from app.infer.export.bundle import export_bundle
from app.infer.export.formats import export_onnx, export_torch, load_exported
from app.infer.export.quantise import PACKAGES, quantise
from app.infer.scan.cleanup import Cleanup, write_cleanup
from app.infer.scan.run_models import read_members
from app.infer.scan.segmenter import Segmenter
from app.infer.window.sliding import SlidingSettings
from app.models.checkpoint import write_checkpoint
from app.train.fine_tuning import read_origin
from tests.support.cli import no_room
from tests.support.config import composed
from tests.support.networks import SETTINGS, SLIDING, make_bench
from tests.support.runs import trained_run
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

SWEPT = yaml.safe_load(Path("conf/sweep/operators.yaml").read_text(encoding="utf-8"))["sweep"]["jobs"]


@pytest.fixture
def begun(make_task: MakeTask, tmp_path: Path) -> Member:
    return trained_run(make_task, tmp_path, steps=1)


@pytest.fixture
def trained(make_task: MakeTask, tmp_path: Path) -> Member:
    """Its network finds the blobs."""
    return trained_run(make_task, tmp_path, steps=60)


def test_exports_agree_and_say_how_to_prepare_a_scan(begun: Member, tmp_path: Path) -> None:
    assert export_torch(begun, tmp_path / "pt2", SLIDING) <= 1e-4
    facts = read_json(tmp_path / "pt2" / "preprocessing.json")
    assert facts["file"] == "model.pt2" and facts["patch"] == [16, 16, 16]
    assert facts["orientation"] == "SAR" and facts["normalisation"][0]["scheme"] == "zscore"
    engine = load_exported(tmp_path / "pt2" / "model.pt2")
    assert engine(torch.zeros(2, 1, 16, 16, 16)).shape == (2, 2, 16, 16, 16)
    if not missing_packages("onnxruntime"):
        assert export_onnx(begun, tmp_path / "onnx", SLIDING) <= 1e-4
        assert (tmp_path / "onnx" / "model.onnx").is_file()


def test_a_full_disk_is_one_line_and_leaves_nothing(begun: Member, tmp_path: Path) -> None:
    for export in (export_torch, export_bundle):
        with no_room(600), pytest.raises(InputError, match=r"cannot be written"):
            export(begun, tmp_path / "full", SLIDING)
    assert not [path for path in (tmp_path / "full").rglob("*") if path.is_file()]


@pytest.mark.parametrize("line", SWEPT)
def test_every_line_of_the_sweep_of_operators_trains_and_exports(
    line: str, make_task: MakeTask, tmp_path: Path
) -> None:
    """As ONNX, or as a graph of torch what is made for one size of window."""
    begun, settings = make_bench(make_task(cases=3), tmp_path / "cache"), replace(SETTINGS, steps=2)
    words = [word for word in SWEPT[line].split() if not word.startswith("seed=")]
    plan = replace(begun.plan, widths=(8, 16))
    spec = network_builder(composed("model.decoder_width=1.0", *words), begun.task)(plan)
    bench = replace(begun, plan=plan, network=spec)
    state = bench.state(settings)
    before = [weight.detach().clone() for weight in state.network.parameters()]
    bench.train(state, settings)
    after = list(state.network.parameters())
    assert state.step == 2 and all(weight.isfinite().all() for weight in after)
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(state))
    (member,) = read_members([tmp_path / "run"], "last")
    as_onnx = spec.fits_other_sizes() and not missing_packages("onnxruntime")
    export = export_onnx if as_onnx else export_torch
    assert export(member, tmp_path / "exported", SLIDING) <= 1e-4


MIRRORED = replace(SLIDING, mirror_axes=(1, 2), alternate=True, certain=0.99, skip_air=True)


def test_an_export_says_all_that_prediction_does(begun: Member, tmp_path: Path) -> None:
    write_cleanup(begun.run, Cleanup(("blob",), ()), {})
    export_torch(begun, tmp_path, MIRRORED)
    facts = read_json(tmp_path / "preprocessing.json")
    assert facts["cleanup"] == {"largest_component": ["blob"], "fill_holes": [], "joining_mm": None}
    assert facts["sliding"]["mirror_axes"] == [1, 2]
    steps = "\n".join(facts["steps"])
    for told in ("mirror_axes", "alternate", "certain", "skip_air"):
        assert f"sliding.{told}" in steps
    assert "1.25" in steps  # how much longer than the patch a window may be
    stacks, resampled = (steps.index(words) for words in ("spacing_mm by n", "/ spacing_mm) voxels"))
    assert stacks < resampled  # slices are divided on the finer grid
    assert "cleanup.largest_component" in facts["steps"][-1] and "cleanup.fill_holes" in facts["steps"][-1]


def test_a_bundle_names_what_it_leaves_out(
    begun: Member, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning for everything that prediction does and a bundle does not, whatever it is."""
    monkeypatch.setattr(bundle, "save_exported", lambda path, checkpoint: path.write_bytes(b""))
    monkeypatch.setattr(bundle, "load_exported", lambda path: None)
    monkeypatch.setattr(bundle, "check_parity", lambda engine, checkpoint: 0.0)

    def warned(name: str, sliding: SlidingSettings, member: Member = begun) -> list[str]:
        caplog.clear()
        export_bundle(member, tmp_path / name, sliding)
        records = [record for record in caplog.records if record.name.startswith("app.")]
        assert all(record.levelname == "WARNING" for record in records)
        return [record.getMessage().replace(str(tmp_path / name), "FOLDER") for record in records]

    plain = replace(SLIDING, windows=1)
    assert warned("plain", plain) == []
    thick = replace(begun.checkpoint.plan, spacing=(4.0, 1.0, 1.0))
    alone = [
        *warned("mirrored", replace(plain, mirror_axes=(1, 2))),
        *warned("longer", replace(plain, windows=2)),
        *warned("air", replace(plain, skip_air=True)),
        *warned("thick", plain, replace(begun, checkpoint=replace(begun.checkpoint, plan=thick))),
    ]
    write_cleanup(begun.run, Cleanup(("blob",), ()), {})
    alone += warned("cleaned", plain)
    assert len(alone) == len(set(alone)) == 5 and all("FOLDER" in message for message in alone)
    assert "[1, 2]" in alone[0] and "skip_air" in alone[2]
    (everything,) = warned("everything", MIRRORED)
    assert "FOLDER" in everything and "[1, 2]" in everything and "skip_air" in everything
    assert len(everything) > max(map(len, alone))


def test_an_export_that_differs_is_refused(begun: Member) -> None:
    exact = find_engine("torch", torch.device("cpu"))(begun)
    with pytest.raises(InputError, match=r"0\.01\d*\b"):
        check_parity(lambda windows: exact(windows) + 0.01, begun.checkpoint)


def test_the_bundle_runs_in_monai_and_segments_as_we_do(trained: Member, tmp_path: Path) -> None:
    from monai.bundle.scripts import run as run_bundle

    export_bundle(trained, tmp_path / "bundle", SLIDING)
    again = read_origin(tmp_path / "bundle").checkpoint  # for train.init
    assert again.digest == trained.checkpoint.digest and not again.training
    (case,) = recorded_cases(trained.run, "validation")
    run_bundle(
        config_file=str(tmp_path / "bundle" / "configs" / "inference.json"),
        bundle_root=str(tmp_path / "bundle"),
        image=str(case.image),
        output_dir=str(tmp_path / "out"),
    )
    theirs = nib.load(tmp_path / "out" / "blob_001_seg.nii.gz")
    short = replace(SLIDING, windows=1)  # a bundle's windows are no longer than the patch
    ours = Segmenter.load(trained.run, sliding=short)(case.image)
    assert ours.any() and (np.asarray(theirs.dataobj) != ours).mean() < 0.002
    np.testing.assert_allclose(theirs.affine, nib.load(case.image).affine, atol=1e-6)


def test_eight_bits_are_judged_on_held_out_cases(trained: Member) -> None:
    if missing := absent(PACKAGES):
        pytest.skip(f"needs {missing}")
    facts = quantise(trained, cases=None)
    assert facts["cases"] == 1 and facts["dice"] > 0.6 and facts["dice_lost"] <= 0.002
    assert abs(facts["dice"] - facts["dice_int8"] - facts["dice_lost"]) < 1e-9
    segmenter = Segmenter.load(trained.run, engine="openvino_int8", sliding=SLIDING)
    held_out = recorded_cases(trained.run, "validation")
    assert abs(mean_over_labels(dice_of_cases(segmenter, held_out)) - facts["dice_int8"]) < 1e-6


def test_cases_that_are_gone_are_named(begun: Member) -> None:
    split = read_json(begun.run / "split.json")
    split["files"]["blob_001"]["image"] = "/nowhere/blob_001.nii.gz"
    write_json(begun.run / "split.json", split)
    with pytest.raises(InputError, match=r"/nowhere/blob_001\.nii\.gz"):
        recorded_cases(begun.run, "validation")
