from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.types import Size, as_size
from app.data.plan.case_facts import case_facts
from app.data.prepare.cache import Cache
from app.data.prepare.geometry import Region, plan_geometry
from app.data.prepare.prepare import prepare
from app.data.prepare.region import labelled_crop, reference_box, training_regions, widened
from app.data.sets.decathlon import read_task
from app.io.volumes import LabelMap, Volume
from tests.support.config import CUBES, plan_for
from tests.support.volumes import ORIENTATIONS, MakeTask, in_orientation


@pytest.mark.parametrize(
    ("margin", "least", "found"),
    [
        ((2, 2, 2), (0, 0, 0), ((8, 8, 8), (14, 14, 14))),
        ((0, 0, 0), (6, 6, 6), ((8, 8, 8), (14, 14, 14))),
        ((20, 20, 20), (0, 0, 0), ((0, 0, 0), (20, 20, 20))),
        ((0, 0, 0), (18, 2, 30), ((2, 10, 0), (20, 12, 20))),
    ],
)
def test_regions_grow_inside_the_scan(margin: Size, least: Size, found: tuple[Size, Size]) -> None:
    box = Region((10, 10, 10), (12, 12, 12))
    assert box.grown(margin, least, (20, 20, 20)) == Region(*found)


def test_a_region_at_an_edge_is_moved_rather_than_cut() -> None:
    assert Region((0, 19, 0), (1, 20, 20)).grown((0, 0, 0), (8, 8, 8), (20, 20, 20)) == Region(
        (0, 12, 0), (8, 20, 20)
    )


@pytest.mark.parametrize("codes", ORIENTATIONS[::7])
def test_the_box_of_a_reference_lies_where_the_network_sees_it(codes: str) -> None:
    labels = np.zeros((12, 14, 16), dtype=np.float32)
    labels[2:5, 3:7, 8:9] = 1
    labels[11, 13, 15] = 2
    voxels, affine = in_orientation(labels, (3.0, 1.0, 1.0), codes)
    geometry = plan_geometry(voxels[None], affine, None)
    assert reference_box(voxels.astype(np.uint8), geometry, ignore=2) == Region((2, 3, 8), (5, 7, 9))
    assert reference_box(voxels.astype(np.uint8), geometry, ignore=None) == Region((2, 3, 8), (12, 14, 16))
    assert reference_box(np.zeros_like(voxels, dtype=np.uint8), geometry, None) is None


def test_margins_are_millimetres_and_a_region_holds_a_patch() -> None:
    geometry = plan_geometry(np.ones((1, 40, 40, 40), dtype=np.float32), np.diag([1.0, 2.0, 4.0, 1.0]), None)
    box = Region((10, 20, 20), (11, 21, 21))
    assert widened(box, geometry, (4.0, 4.0, 4.0), CUBES) == Region((9, 18, 16), (12, 23, 25))


@pytest.mark.parametrize(("first", "seen", "found"), [(18, (16, 24), (15, 25)), (0, (0, 8), (0, 9))])
def test_training_regions_reach_an_eighth_beyond_those_of_prediction(
    first: int, seen: tuple[int, int], found: tuple[int, int]
) -> None:
    """Labels of 4 mm with a margin of 2 mm are as long as a patch of 8; at an edge the region is moved."""
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    empty, box = LabelMap(np.eye(4), labels.copy()), (slice(first, first + 4),) * 3
    labels[box] = 1
    volume = Volume(np.eye(4), np.ones((1, 40, 40, 40), dtype=np.float32))
    margin = (2.0, 2.0, 2.0)
    regions = training_regions(volume, LabelMap(np.eye(4), labels), CUBES, margin, ignore=None)
    wanted = tuple(Region(as_size([low] * 3), as_size([high] * 3)) for low, high in (seen, found))
    assert regions == wanted
    assert training_regions(volume, empty, CUBES, margin, ignore=None) is None


def test_cached_regions_hold_every_label_and_a_patch(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=2, shape=(40, 40, 40)))
    cache = Cache(tmp_path, task, workers=1)
    plan = plan_for(cache, task)
    whole, cut = cache.prepare(plan), cache.prepare(CUBES, margin_mm=(2.0, 2.0, 2.0))
    for case in task.cases:
        full, region = (each[case.id].labels().whole(np.uint8)[0] for each in (whole, cut))
        assert region.sum() == full.sum() > 0 and region.size < full.size
        assert region.shape == cut[case.id].image().size and min(region.shape) >= 10
        inner = cut[case.id].region()
        assert cut[case.id].labels().cut(inner.start, inner.size).sum() == full.sum()
        assert all(8 <= n < more for n, more in zip(inner.size, region.shape, strict=True))
        assert whole[case.id].region() == Region((0, 0, 0), as_size(full.shape))
    assert {case.folder for case in whole.values()}.isdisjoint(case.folder for case in cut.values())


def test_intensities_are_those_of_the_whole_scan_whatever_the_region() -> None:
    voxels = np.random.default_rng(0).normal(50, 20, (1, 12, 12, 12)).astype(np.float32)
    voxels[:, :4] = 1000
    volume, region = Volume(np.eye(4), voxels), Region((2, 3, 6), (10, 11, 12))
    whole, part = prepare(volume, None, CUBES), prepare(volume, None, CUBES, region)
    np.testing.assert_array_equal(part.image, whole.image[:, 2:10, 3:11, 6:12])


@pytest.mark.parametrize("codes", ORIENTATIONS[::11])
def test_the_crop_of_a_training_case_holds_every_label(codes: str) -> None:
    """A scan masked after it was labelled: half of the label lies where it is zero up to its face."""
    scan = np.zeros((12, 10, 8), dtype=np.float32)
    scan[2:6, 1:9, 1:7] = 5
    labels = np.zeros_like(scan)
    labels[4:8, 3:5, 3:5] = 1
    labels[11, 9, 7] = 2  # ignored
    voxels, affine = in_orientation(scan, (3.0, 1.0, 1.0), codes)
    reference = in_orientation(labels, (3.0, 1.0, 1.0), codes)[0].astype(np.uint8)
    volume = Volume(affine, voxels[None])
    assert labelled_crop(volume, LabelMap(affine, reference), ignore=2) == Region((2, 1, 1), (8, 9, 7))
    inside = np.where(voxels, reference, 0)
    assert labelled_crop(volume, LabelMap(affine, inside), ignore=2) is None


def test_all_labelled_voxels_are_prepared(make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=3)
    path = folder / "imagesTr" / "blob_001.nii.gz"
    voxels = np.asarray(nib.load(path).dataobj).copy()
    label = np.asarray(nib.load(folder / "labelsTr" / "blob_001.nii.gz").dataobj)
    voxels[int(np.argwhere(label)[:, 0].mean()) :] = 0
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    task = read_task(folder)
    cache = Cache(tmp_path / "cache", task, workers=1)
    facts = cache.over_cases("Reading", case_facts)[0]
    (box,) = facts.boxes
    extent = np.ptp(np.argwhere(label), axis=0) + 1
    assert box is not None and box.extent == tuple(extent[::-1].tolist())
    prepared = cache.prepare(plan_for(cache, task))["blob_001"]
    assert prepared.labels().whole().sum() == label.sum()
