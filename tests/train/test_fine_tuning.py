import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.task import Case
from app.models.checkpoint import Checkpoint, Locator, write_checkpoint
from app.models.model import Shape
from app.models.network import design
from app.models.unet import UNetModel
from app.operators.plain import Conv3d
from app.train.fine_tuning import Origin, begun_with, keep_origin, kept_origin, read_origin, warn_of_seen
from tests.support.config import CUBES

SPEC = design(
    UNetModel(block="plain", encoder_blocks=1, decoder_blocks=1, deep_supervision=False),
    Shape(1, 2, CUBES.widths, CUBES.strides, CUBES.kernels),
    Conv3d(),
    None,
)


@pytest.fixture
def checkpoint() -> Checkpoint:
    """Averaged weights, and those of a first stage, are other ones."""
    torch.manual_seed(0)
    weights, averaged, coarse = (SPEC.build().state_dict() for _ in range(3))
    locator = Locator(SPEC, CUBES, coarse, (1.0, 1.0, 1.0))
    labels = ("background", "blob")
    return Checkpoint(SPEC, CUBES, ("MR",), labels, weights, averaged, {"step": 3}, locator=locator)


def test_weights_are_read_from_a_run_a_file_and_a_bundle(checkpoint: Checkpoint, tmp_path: Path) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    write_checkpoint(run / run_folder.LAST, checkpoint)
    write_checkpoint(bundle / run_folder.BUNDLE_WEIGHTS, checkpoint.without_training())
    for place in (run, run / run_folder.LAST, bundle):
        found = read_origin(place)
        assert found.name == str(place) and found.checkpoint.training == {}
        assert found.checkpoint.digest == checkpoint.digest  # of the averaged weights
        coarse = found.first_stage()
        assert coarse is not None and coarse.checkpoint.locator is None
        assert checkpoint.locator is not None
        weights, wanted = coarse.checkpoint.inference_weights, checkpoint.locator.weights
        assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    with pytest.raises(InputError, match=r"train\.init") as error:
        read_origin(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert Origin("", replace(checkpoint, locator=None)).first_stage() is None


def test_a_run_keeps_what_it_begins_with_until_another_begins_there(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    assert kept_origin(tmp_path) is None and begun_with(tmp_path) == {}
    keep_origin(tmp_path, Origin("elsewhere", checkpoint.without_training()))
    found = kept_origin(tmp_path)
    assert found is not None and (found.name, found.checkpoint.digest) == ("elsewhere", checkpoint.digest)
    assert read_json(tmp_path / run_folder.INIT_RECORD)["weights_sha256"] == checkpoint.digest
    assert begun_with(tmp_path) == {"init": {"from": "elsewhere"}}
    keep_origin(tmp_path, None)
    assert not list(tmp_path.iterdir())


def test_held_out_cases_that_trained_the_weights_are_named(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By their files, or by what these hold."""
    files = {name: {"image": f"/data/{name}.nii.gz", "digest": f"digest of {name}"} for name in "abc"}
    write_json(tmp_path / run_folder.SPLIT, {"train": ["a", "b"], "validation": ["c"], "files": files})
    held_out = [Case(name, Path(f"/data/{place}.nii.gz"), None) for name, place in ("ax", "bb", "cc", "dd")]
    origin = Origin(str(tmp_path), checkpoint)
    with caplog.at_level(logging.WARNING):
        warn_of_seen(origin, held_out, {"a": "digest of a", "b": "changed", "c": "digest of c", "d": "new"})
    (message,) = caplog.messages
    assert "2 of 4" in message and "(a, b)" in message and str(tmp_path) in message
    caplog.clear()
    warn_of_seen(origin, held_out[2:], {})
    warn_of_seen(Origin(str(tmp_path / "bundle" / "model.pt"), checkpoint), held_out, {})
    assert not caplog.messages
