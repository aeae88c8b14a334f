import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from app.core.errors import InputError
from app.core.plan import Plan
from app.data.prepare.geometry import Geometry
from app.infer.scan import memory, restore, segmentation
from app.infer.scan import segmenter as segmenter_module
from app.infer.scan.memory import belt_bytes, cut_rows, pass_bytes
from app.infer.scan.restore import Canvas, Restorer
from app.infer.scan.segmenter import Segmenter
from app.infer.window.sliding import fit_windows
from app.infer.window.windows import Windows, lay_windows
from app.io.volumes import Volume
from app.models.checkpoint import write_checkpoint
from tests.support.config import CUBES
from tests.support.networks import SLIDING, make_bench
from tests.support.volumes import MakeTask

IN_USE = 1_000_000_000
WINDOWS = lay_windows((30, 70, 40), (16, 16, 16), SLIDING.overlap, at_once=SLIDING.windows)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: IN_USE)
    for module in (memory, restore):
        monkeypatch.setattr(module, "PIECE_VALUES", 20_000)


def limit_for(height: int, fixed: int, windows: Windows = WINDOWS) -> float:
    """GB that just hold the logits of `height` rows."""
    return (IN_USE + fixed + 16 * 20_000 + belt_bytes(windows, height, classes=2) + 1) / 1e9


def test_a_belt_of_logits_is_as_deep_as_a_window() -> None:
    assert belt_bytes(WINDOWS, 70, classes=2) == 4 * 3 * 16 * 70 * 40


def test_a_pass_holds_the_feature_maps_of_one_stack_at_a_time() -> None:
    """Eight maps of the first level's 4 channels and three of 2 classes, in 4 bytes for each voxel."""
    voxels = SLIDING.windows * 16**3
    assert pass_bytes(WINDOWS, [CUBES], classes=2) == 4 * voxels * (8 * 4 + 3 * 2)
    assert pass_bytes(WINDOWS, [CUBES], classes=2, stacks=2) == 4 * voxels * (8 * 2 + 3 * 2)


def test_rows_are_cut_into_as_few_parts_as_fit() -> None:
    for height, parts in ((70, 1), (69, 2), (35, 2), (24, 3)):
        limit = limit_for(height, 7)
        cuts = cut_rows(70, lambda cut: cut, WINDOWS, classes=2, fixed=7, limit_gb=limit, free_gb=0.0)
        assert len(cuts) == parts
        assert [row for cut in cuts for row in cut] == list(range(70))
    for free, parts in (
        (limit_for(69, 7), 2),
        (0.0, len(WINDOWS.starts[1])),
    ):  # without a limit none is refused
        cuts = cut_rows(70, lambda cut: cut, WINDOWS, classes=2, fixed=7, limit_gb=None, free_gb=free)
        assert len(cuts) == parts
    with pytest.raises(InputError, match=r"predict\.memory_gb") as error:
        cut_rows(70, lambda cut: cut, WINDOWS, classes=2, fixed=7, limit_gb=1.0, free_gb=9.0)
    assert {"1", "1.1"} <= set(re.findall(r"\d[\d.]*\b", str(error.value)))  # GB allowed, GB needed


def test_a_scan_in_parts_has_the_same_labels(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []

    def counted(geometry: Geometry, canvases: Sequence[Canvas], rows: range) -> Restorer:
        parts.append(len(rows))
        return Restorer(geometry, canvases, rows)

    held: list[StorageWeakRef] = []  # logits of the parts before
    stream = segmentation.stream_logits

    def watched(*words: Any, **more: Any) -> Iterator[torch.Tensor]:
        assert all(storage.expired() for storage in held)
        for piece in stream(*words, **more):
            held.append(StorageWeakRef(piece.untyped_storage()))
            yield piece
            del piece

    monkeypatch.setattr(segmentation, "Restorer", counted)
    monkeypatch.setattr(segmentation, "stream_logits", watched)
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    segmenter = Segmenter.load(tmp_path / "run", sliding=SLIDING)
    image = np.random.default_rng(0).normal(size=(40, 70, 30)).astype(np.float32)
    whole = segmenter(image, np.eye(4))
    plans: tuple[Plan, ...] = segmenter.plans
    windows = fit_windows((30, 70, 40), plans, SLIDING)
    fixed = whole.nbytes + pass_bytes(windows, plans, classes=2)
    assert parts == [70]
    in_parts = replace(segmenter, memory_gb=limit_for(24, fixed, windows))(image, np.eye(4))
    assert len(parts) > 2 and sum(parts) == 2 * 70
    assert whole.any() and (in_parts != whole).mean() <= 1e-5
    parts.clear()
    monkeypatch.setattr(segmentation, "free_gb", lambda: limit_for(24, fixed, windows))
    assert (segmenter(image, np.eye(4)) == in_parts).all() and len(parts) > 1
    parts.clear()
    monkeypatch.setattr(segmentation, "free_gb", lambda: 0.0)  # no limit was asked for, so nothing is refused
    assert (segmenter(image, np.eye(4)) != whole).mean() <= 1e-5 and len(parts) == len(windows.starts[1]) > 1


@pytest.mark.parametrize(("fits", "attempts"), [(2, 1), (1, 2), (0, None)])
def test_out_of_memory_it_tries_smaller_windows(
    fits: int, attempts: int | None, make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine on a device that holds `fits` patches at once."""
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    segmenter = Segmenter.load(tmp_path / "run", sliding=SLIDING)
    begun: list[int] = []
    fitted = segmentation.fit_windows
    monkeypatch.setattr(
        segmentation, "fit_windows", lambda *words: begun.append(words[2].windows) or fitted(*words)
    )

    def small(windows: torch.Tensor) -> torch.Tensor:
        if windows[:, 0].numel() > fits * 16**3:
            raise torch.OutOfMemoryError("emulated")
        return segmenter.members[0](windows)

    image = np.random.default_rng(0).normal(size=(40, 36, 30)).astype(np.float32)
    limited = replace(segmenter, members=(small,))
    if attempts is None:
        with pytest.raises(InputError, match=r"16x16x16.*plan\.patch"):
            limited(image, np.eye(4))
        return
    found = limited(image, np.eye(4))
    assert len(begun) == attempts and begun[-1] == fits
    wanted = replace(segmenter, sliding=replace(SLIDING, windows=fits))(image, np.eye(4))
    assert (found == wanted).all() and found.any()


def test_a_scan_that_does_not_fit_once_prepared_is_refused_before_it_is(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    segmenter = Segmenter.load(tmp_path / "run", sliding=SLIDING)
    image = np.random.default_rng(0).normal(size=(40, 70, 30)).astype(np.float32)
    twice = replace(segmenter, memory_gb=(IN_USE + 2 * image.nbytes) / 1e9)
    assert twice.prepare(Volume(np.eye(4), image[None])).image.shape == (1, 30, 70, 40)
    monkeypatch.setattr(segmenter_module, "prepare", None)  # calling it would be a TypeError
    coarse = np.diag([2.0, 2.0, 2.0, 1.0])  # eight times the voxels once prepared
    for limited, affine in ((replace(segmenter, memory_gb=1.0), np.eye(4)), (twice, coarse)):
        with pytest.raises(InputError, match=r"predict\.memory_gb"):
            limited(image, affine)
