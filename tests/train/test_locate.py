from pathlib import Path

from app.core.task import Case
from app.data.prepare.geometry import Geometry, Region
from app.data.sample.split import Folds, inner_split, split_cases
from app.infer.scan.parts import MaskComponents
from app.train.locate import SHARES, learnt_share, misses_by_share, outside

GEOMETRY = Geometry(
    ((0, 1), (1, 1), (2, 1)), (20, 40, 40), (0, 0, 0), (20, 40, 40), (5.0, 1.0, 1.0), (20, 40, 40)
)


def test_what_reaches_out_is_told_in_millimetres_of_the_further_side() -> None:
    wanted, found = Region((4, 10, 10), (8, 20, 20)), Region((5, 12, 5), (8, 19, 25))
    assert outside(wanted, found, GEOMETRY) == (5.0, 2.0, 0.0)


def test_a_part_that_is_dropped_is_missed_from_its_share_on() -> None:
    parts = MaskComponents(
        sizes=(100, 30), boxes=(Region((4, 10, 10), (8, 20, 20)), Region((4, 30, 10), (8, 36, 20)))
    )
    missed = misses_by_share(parts, Region((4, 10, 10), (8, 36, 20)), GEOMETRY)
    assert missed == {
        1.0: (0.0, 16.0, 0.0),
        0.5: (0.0, 16.0, 0.0),
        0.25: (0.0, 0.0, 0.0),
        0.1: (0.0, 0.0, 0.0),
        0.05: (0.0, 0.0, 0.0),
    }
    assert misses_by_share(MaskComponents((), ()), Region((4, 10, 10), (8, 36, 20)), GEOMETRY) == {}
    assert misses_by_share(parts, None, GEOMETRY) == {}


def rising(*mm: float) -> dict[float, tuple[float, float, float]]:
    """The miss along the second axis for each share, strictest first."""
    return {share: (0.0, miss, 0.0) for share, miss in zip(SHARES, mm, strict=True)}


def test_the_strictest_share_that_loses_nothing_is_learnt() -> None:
    grid, nothing = (10.0, 4.0, 4.0), rising(0, 0, 0, 0, 0)
    assert learnt_share([nothing], [nothing], grid) == 1.0
    assert learnt_share([rising(16, 16, 4, 4, 4)], [nothing], grid) == 0.25
    assert learnt_share([nothing], [rising(16, 4, 4, 0, 0)], grid) == 0.5  # of references too
    assert learnt_share([rising(30, 30, 30, 30, 30), {}], [], grid) == 1.0  # whatever the share, lost alike
    assert learnt_share([], [], grid) == 1.0


def test_a_copy_of_a_training_scan_does_not_calibrate_the_margin() -> None:
    cases = [Case(f"case_{number:02}", Path(f"{number}.nii"), None) for number in range(24)]
    alike = [[f"case_{number:02}", f"case_{number + 12:02}"] for number in range(12)]
    folds = Folds(0, 4, 7)
    inner = inner_split(split_cases(cases, folds, duplicates=alike), folds.seed)
    calibrating = {case.id for case in inner.validation}
    assert calibrating and len(inner.training) + len(calibrating) == 18
    assert all(len(calibrating.intersection(pair)) in (0, 2) for pair in alike)
