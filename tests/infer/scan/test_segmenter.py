"""A segmenter's labels by either way of decoding."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from app.core.errors import InputError
from app.core.plan import Normalisation
from app.infer.scan.decode_dice import decode_dice
from app.infer.scan.segmentation import Arrays
from app.infer.scan.segmenter import Segmenter
from app.io.images import volume_from_array
from app.models.checkpoint import write_checkpoint
from tests.support.networks import SLIDING, make_bench
from tests.support.volumes import MakeTask


def test_decoding_for_dice_is_that_of_the_scan_s_probabilities(make_task: MakeTask, tmp_path: Path) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    segmenter = Segmenter.load(tmp_path / "run", sliding=SLIDING)
    image = np.random.default_rng(0).normal(size=(20, 24, 18)).astype(np.float32)
    labels, shape = np.zeros(image.shape, dtype=np.uint8), (2, *image.shape)
    arrays = Arrays(labels, np.zeros(shape, dtype=np.float32))
    segmenter.segment(segmenter.prepare(volume_from_array(image, np.eye(4))), arrays)
    assert arrays.probabilities is not None
    wanted = np.zeros_like(labels)
    decode_dice(arrays.probabilities, wanted)
    decoding = replace(segmenter, sliding=replace(SLIDING, decode="dice"))
    np.testing.assert_array_equal(decoding(image, np.eye(4)), wanted)
    assert (wanted != labels).any()


def test_slices_half_as_thick_are_segmented_as_two_scans(make_task: MakeTask, tmp_path: Path) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    loaded = Segmenter.load(tmp_path / "run", sliding=SLIDING)
    raw = (Normalisation("ct", low=-10, high=10),)  # the same for a scan and for its halves
    thick = replace(loaded, plans=(replace(loaded.plans[0], spacing=(4.0, 1.0, 1.0), normalisation=raw),))
    size = (20, 24, 2 * thick.plans[0].patch[0])
    image = np.random.default_rng(0).normal(size=size).astype(np.float32)
    both = thick(image, np.diag([1.0, 1.0, 2.0, 1.0]))
    for first in (0, 1):
        half = thick(image[..., first::2], np.diag([1.0, 1.0, 4.0, 1.0]))
        different = both[..., first::2] != half  # overlapping windows of other sizes have other weights
        assert different.mean() < 0.002
    assert 0 < both.mean() < 1
    assert (both != loaded(image, np.diag([1.0, 1.0, 2.0, 1.0]))).mean() > 0.02


def test_foreground_far_from_the_rest_is_dropped_and_named(make_task: MakeTask, tmp_path: Path) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", replace(bench.checkpoint(bench.state()), joining_mm=10.0))
    loaded = Segmenter.load(tmp_path / "run", sliding=SLIDING)
    assert loaded.joining_mm == 10
    bright = replace(loaded, members=(lambda windows: torch.cat([-windows, windows], dim=1),))
    image = np.full((48, 20, 20), 1.0, dtype=np.float32)
    image[4:12, 4:12, 4:12] = image[36:40, 4:8, 4:8] = 100.0

    def found(segmenter: Segmenter) -> tuple[str, bool, bool]:
        arrays = Arrays(np.zeros(image.shape, dtype=np.uint8))
        dropped = segmenter.segment(segmenter.prepare(volume_from_array(image, np.eye(4))), arrays).dropped
        return dropped, bool(arrays.labels[8, 8, 8]), bool(arrays.labels[37, 6, 6])

    assert found(replace(bright, joining_mm=None)) == ("", True, True)
    assert found(replace(bright, joining_mm=40.0)) == ("", True, True)
    dropped, large, small = found(bright)
    assert "10 mm" in dropped and large and not small


def test_networks_together_allow_the_largest_distance_of_any(make_task: MakeTask, tmp_path: Path) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    checkpoint = bench.checkpoint(bench.state())
    for name, distance in (("near", 10.0), ("wide", 40.0), ("any", None)):
        write_checkpoint(tmp_path / name / "last.pt", replace(checkpoint, joining_mm=distance))

    def together(*names: str) -> float | None:
        return Segmenter.load([tmp_path / name for name in names], sliding=SLIDING).joining_mm

    assert together("near", "wide") == 40
    assert together("near", "any") is None


@pytest.mark.e2e
def test_an_image_of_simpleitk_gives_one_of_the_same_grid(make_task: MakeTask, tmp_path: Path) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    segmenter = Segmenter.load(tmp_path / "run", sliding=SLIDING)
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(16, 21, 17)).astype(np.float32))
    image.SetSpacing((0.8, 1.1, 1.4))
    image.SetOrigin((5.0, -7.0, 11.0))
    labels = segmenter(image)
    assert labels.GetSize() == (17, 21, 16) and labels.GetPixelID() == sitk.sitkUInt8
    assert labels.GetOrigin() == image.GetOrigin() and labels.GetDirection() == image.GetDirection()
    affine = np.diag([-0.8, -1.1, 1.4, 1.0])
    affine[:3, 3] = -5, 7, 11
    array = segmenter(sitk.GetArrayFromImage(image).transpose(2, 1, 0), affine)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels).transpose(2, 1, 0), array)
    with pytest.raises(InputError, match="affine"):
        segmenter(np.zeros((4, 4, 4), dtype=np.float32))
