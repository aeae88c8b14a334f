import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_geometry import ORIENTATIONS, in_orientation

from app.core.types import Size
from app.data.geometry import Geometry, network_view, plan_geometry, restore_labels
from app.infer import restore
from app.infer.labels import entropy_of, labels_of, probabilities_of
from app.infer.restore import Canvas, Restorer

SIZES = st.tuples(*[st.integers(2, 20)] * 3)


def geometry_of(full: Size, resampled: Size, codes: str = "SAR") -> Geometry:
    voxels, affine = in_orientation(np.ones(full, dtype=np.float32), (1.0, 1.0, 1.0), codes)
    planned = plan_geometry(voxels[None], affine, None)
    return Geometry(
        planned.orientation, planned.full, planned.start, planned.stop, planned.spacing, resampled
    )


def restored(logits: torch.Tensor, geometry: Geometry, cuts: list[int], columns: list[range]) -> np.ndarray:
    labels = np.zeros((1, *geometry.scan), dtype=np.uint8)
    canvas = Canvas(network_view(labels, geometry)[0], labels_of)
    for part in columns:
        restorer = Restorer(geometry, [canvas], part)
        for first, stop in zip(cuts, (*cuts[1:], logits.shape[1]), strict=True):
            rows = slice(restorer.rows.start, restorer.rows.stop)
            restorer.add(logits[:, first:stop, rows])
    return labels[0]


@settings(deadline=None, max_examples=60)
@given(
    source=SIZES,
    target=SIZES,
    codes=st.sampled_from(ORIENTATIONS),
    slab=st.integers(1, 20),
    parts=st.integers(1, 3),
)
def test_piece_by_piece_equals_resampling_everything_at_once(
    source: Size, target: Size, codes: str, slab: int, parts: int
) -> None:
    logits = torch.randn(3, *source, generator=torch.Generator().manual_seed(0))
    geometry = geometry_of(target, source, codes)
    step = -(-target[1] // parts)
    columns = [range(first, min(first + step, target[1])) for first in range(0, target[1], step)]
    ours = restored(logits, geometry, list(range(0, source[0], slab)), columns)
    whole = F.interpolate(logits[None], size=target, mode="trilinear", align_corners=False)[0]
    plain = restore_labels(whole.argmax(0).to(torch.uint8).numpy(), geometry_of(target, target, codes))
    certain = np.asarray(whole.topk(2, dim=0).values.diff(dim=0).abs()[0] > 1e-5)
    same = ours == plain
    assert (
        same.all()
        or (
            same | ~restore_labels(certain.astype(np.uint8), geometry_of(target, target, codes)).astype(bool)
        ).all()
    )


def test_a_large_volume_differs_in_at_most_one_voxel_of_a_hundred_thousand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    coarse = torch.randn(4, 9, 10, 8)
    logits = F.interpolate(coarse[None], size=(70, 64, 60), mode="trilinear")[0]
    geometry = geometry_of((101, 90, 77), (70, 64, 60))
    monkeypatch.setattr(restore, "PIECE_VALUES", 4 * 90 * 77 * 5)
    ours = restored(logits, geometry, [0, 13, 14, 50], [range(0, 31), range(31, 90)])
    plain = F.interpolate(logits[None], size=(101, 90, 77), mode="trilinear")[0].argmax(0).numpy()
    assert (
        ours != restore_labels(plain.astype(np.uint8), geometry_of((101, 90, 77), (101, 90, 77)))
    ).mean() <= 1e-5


def test_probabilities_and_entropy_mean_what_they_say() -> None:
    logits = torch.tensor([[0.5, 0.9], [0.25, 0.05], [0.25, 0.05]]).log()
    torch.testing.assert_close(probabilities_of(logits).sum(0), torch.ones(2))
    torch.testing.assert_close(entropy_of(logits)[0], torch.tensor(1.5))
    assert labels_of(torch.zeros(3, 4)).tolist() == [0, 0, 0, 0]
