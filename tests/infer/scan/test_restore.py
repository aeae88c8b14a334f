"""Predictions come back to the scan's own grid: `Restorer` paints logits the way prediction uses it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from app.core.types import Size, Spacing, as_spacing
from app.data.prepare.geometry import (
    Geometry,
    forward_image,
    forward_labels,
    plan_geometry,
)
from app.data.prepare.prepare import Prepared
from app.infer.scan import restore
from app.infer.scan.restore import Restorer
from app.infer.scan.segmentation import Arrays
from app.infer.window.decode import entropy_of, most_probable_labels, probabilities_of
from tests.support.volumes import ORIENTATIONS, in_orientation

SIZES = st.tuples(*[st.integers(2, 20)] * 3)
CLASSES = 3


def geometry_of(full: Size, resampled: Size, codes: str = "SAR") -> Geometry:
    voxels, affine = in_orientation(np.ones(full, dtype=np.float32), (1.0, 1.0, 1.0), codes)
    planned = plan_geometry(voxels[None], affine, None)
    return Geometry(
        planned.orientation, planned.full, planned.start, planned.stop, planned.spacing, resampled
    )


def restored(
    logits: torch.Tensor,
    geometry: Geometry,
    cuts: list[int] | None = None,
    columns: list[range] | None = None,
) -> NDArray[np.uint8]:
    """Return the label map (i, j, k) that prediction paints from logits (L, D, H, W).

    The logits arrive in pieces that start at the slices `cuts`, by default three slices each.
    """
    arrays = Arrays(np.zeros(geometry.scan, dtype=np.uint8))
    canvases = arrays.canvases(Prepared(np.zeros((1, *geometry.resampled), np.float32), None, geometry))
    cuts = cuts or list(range(0, logits.shape[1], 3))
    for part in columns or [range(geometry.cropped[1])]:
        restorer = Restorer(geometry, canvases, part)
        for first, stop in zip(cuts, (*cuts[1:], logits.shape[1]), strict=True):
            rows = slice(restorer.network_rows.start, restorer.network_rows.stop)
            restorer.add(logits[:, first:stop, rows])
    return arrays.labels


def one_hot(labels: NDArray[np.uint8]) -> torch.Tensor:
    """Logits (L, D, H, W) of a network that predicts exactly these labels (D, H, W)."""
    return F.one_hot(torch.from_numpy(labels).long(), CLASSES).movedim(-1, 0).float()


def smooth_labels(shape: Size) -> NDArray[np.uint8]:
    """Random label map of three classes with smooth borders."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2.5)
    return np.digitize(noise, [noise.mean(), np.quantile(noise, 0.85)]).astype(np.uint8)


def stored_labels(labels: NDArray[np.uint8], codes: str) -> NDArray[np.uint8]:
    """Labels (D, H, W) as a file of another orientation holds them, by nibabel alone."""
    return in_orientation(labels.astype(np.float32), (1.0, 1.0, 1.0), codes)[0].astype(np.uint8)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_prediction_lies_in_the_scan_s_own_space_in_every_orientation(codes: str) -> None:
    shape = (5, 7, 9)
    labels = smooth_labels(shape)
    image = np.random.default_rng(0).random(shape, dtype=np.float32) + 1
    voxels, affine = in_orientation(image, (3.0, 1.0, 0.8), codes)
    geometry = plan_geometry(voxels[None], affine, None)
    stored = stored_labels(labels, codes)
    assert stored.shape == voxels.shape and len(np.unique(stored)) == CLASSES
    np.testing.assert_array_equal(restored(one_hot(forward_labels(stored, geometry)), geometry), stored)


@settings(deadline=None, max_examples=40)
@given(
    codes=st.sampled_from(ORIENTATIONS),
    angles=st.tuples(*[st.floats(-25, 25)] * 3),
    spacing=st.tuples(*[st.floats(0.6, 3.0)] * 3),
    shape=st.tuples(*[st.integers(9, 21)] * 3),
    finer=st.tuples(*[st.floats(0.6, 2.0)] * 3),
    margins=st.tuples(*[st.integers(0, 2)] * 3),
)
def test_predicting_the_prepared_labels_gives_back_those_of_the_scan(
    codes: str, angles: Spacing, spacing: Spacing, shape: Size, finer: Spacing, margins: Size
) -> None:
    """Scans of any shape, orientation, rotation, spacing and empty margin, on grids coarser or finer."""
    inside = tuple(slice(margin, None) for margin in margins)
    labels, image = np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.float32)
    labels[inside] = smooth_labels(shape)[inside]
    image[inside] = labels[inside] + 1.0
    voxels, affine = in_orientation(image, spacing, codes)
    affine[:3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ affine[:3]
    stored = stored_labels(labels, codes)
    target_mm = as_spacing([mm / times for mm, times in zip(spacing, finer, strict=True)])
    geometry = plan_geometry(voxels[None], affine, target_mm)
    assert Geometry.from_dict(geometry.to_dict()) == geometry
    prepared = forward_labels(stored, geometry)
    assert prepared.shape == forward_image(voxels[None], geometry).shape[1:] == geometry.resampled
    found = restored(one_hot(prepared), geometry)
    assert found.shape == stored.shape
    assert (found[voxels == 0] == 0).all()
    if min(finer) >= 1.0:  # a grid at least as fine as the scan's loses nothing but voxels on edges
        assert (found != stored).mean() < 0.06


@pytest.mark.parametrize("codes", ORIENTATIONS[::5])
def test_outside_the_crop_everything_is_background(codes: str) -> None:
    image, labels = np.zeros((6, 7, 8), dtype=np.float32), np.zeros((6, 7, 8), dtype=np.uint8)
    image[1:3, 2:6, 3:8], labels[1:3, 2:6, 3:8] = 1, 1
    voxels, affine = in_orientation(image, (1.0, 1.0, 1.0), codes)
    geometry = plan_geometry(voxels[None], affine, None)
    found = restored(one_hot(np.ones(geometry.resampled, dtype=np.uint8)), geometry)
    np.testing.assert_array_equal(found, stored_labels(labels, codes))


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
    logits = torch.randn(CLASSES, *source, generator=torch.Generator().manual_seed(0))
    geometry = geometry_of(target, source, codes)
    step = -(-target[1] // parts)
    columns = [range(first, min(first + step, target[1])) for first in range(0, target[1], step)]
    ours = restored(logits, geometry, list(range(0, source[0], slab)), columns)
    whole = F.interpolate(logits[None], size=target, mode="trilinear", align_corners=False)[0]
    plain = stored_labels(whole.argmax(0).to(torch.uint8).numpy(), codes)
    near_ties = (whole.topk(2, dim=0).values.diff(dim=0).abs()[0] <= 1e-5).to(torch.uint8).numpy()
    assert ((ours == plain) | (stored_labels(near_ties, codes) == 1)).all()


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
    assert (ours != stored_labels(plain.astype(np.uint8), "SAR")).mean() <= 1e-5


def test_probabilities_and_entropy_mean_what_they_say() -> None:
    logits = torch.tensor([[0.5, 0.9], [0.25, 0.05], [0.25, 0.05]]).log()
    torch.testing.assert_close(probabilities_of(logits).sum(0), torch.ones(2))
    torch.testing.assert_close(entropy_of(logits)[0], torch.tensor(1.5))
    assert most_probable_labels(torch.zeros(3, 4)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("resampled", [(7, 9, 8), (14, 30, 11), (20, 9, 25)])
def test_labels_alone_are_those_of_interpolated_logits(resampled: Size) -> None:
    """Between voxels of one label nothing is interpolated, between others all classes are."""
    geometry = geometry_of((15, 19, 23), resampled)
    noise = torch.randn(1, 40, *resampled, generator=torch.Generator().manual_seed(0))
    logits = F.avg_pool3d(noise, 3, stride=1, padding=1)[0]
    labels = restored(logits, geometry)
    size = geometry.cropped
    wanted = F.interpolate(logits[None], size=size, mode="trilinear", align_corners=False)[0]
    chosen = wanted.gather(0, torch.from_numpy(labels.astype(np.int64))[None])[0]
    assert len(np.unique(labels)) > 10
    assert (wanted.amax(0) - chosen).max() < 1e-5  # the largest, except for ties and rounding
