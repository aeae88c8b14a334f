"""A segmenter's labels by either way of decoding."""

from dataclasses import replace
from pathlib import Path

import numpy as np

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
