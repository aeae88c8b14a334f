from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from app.core.task import Case, Task
from app.data.prepare.cached_case import CachedCase
from app.infer.window.sliding import SlidingSettings
from app.train import validate
from app.train.validate import affordable, expected_share, validation_dice
from tests.support.config import PLAN as ANY_PLAN
from tests.support.networks import SETTINGS

PLAN = replace(
    ANY_PLAN, patch=(8, 8, 8), strides=((1, 1, 1), (2, 2, 2)), widths=(4, 8), kernels=((3, 3, 3),) * 2
)
SLIDING = SlidingSettings(overlap=0.25, windows=2, mirror_axes=())


@pytest.fixture
def cases(tmp_path: Path) -> list[CachedCase]:
    """Ten cases of 14x8x8 voxels, which two windows of 8x8x8 cover."""
    found = [CachedCase(str(index), tmp_path / str(index)) for index in range(10)]
    for case in found:
        case.folder.mkdir()
        np.save(case.folder / "labels.npy", np.zeros((1, 14, 8, 8), dtype=np.uint8))
    return found


@pytest.mark.parametrize(
    ("patches", "most", "chosen", "every"),
    [
        (20, None, "036", 1),  # 3 * 20 passes of a patch: a ninth of them is 6.7, three cases of two windows
        (20, 2, "05", 1),
        (1, None, "0", 6),  # a ninth of three passes is a third of one, and a case takes two
        (1000, None, "0123456789", 1),
        (1000, 4, "0257", 1),
    ],
)
def test_cases_judged_take_a_tenth_of_the_time(
    cases: list[CachedCase], patches: int, most: int | None, chosen: str, every: int
) -> None:
    found = affordable(cases, most=most, patches=patches, plan=PLAN, sliding=SLIDING)
    assert ("".join(case.id for case in found.cases), found.every) == (chosen, every)


@pytest.mark.parametrize(
    ("most", "patches", "share"),
    [(None, 1, 1 / 9), (8, 1, 8 * 1.5 / (3 * 100 * 2)), (8, 100, 1 / 9)],
)
def test_the_time_of_validation_is_expected_from_the_cases_and_at_most_a_tenth(
    most: int | None, patches: float, share: float
) -> None:
    settings = replace(SETTINGS, validation_cases=most, epoch_steps=100, accumulate=1)
    assert expected_share(settings, batch=2, patches=patches) == pytest.approx(share)


def test_dice_is_a_mean_over_the_cases_that_have_a_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dice of a is 1 and 2 * 1 / (3 + 1); that of b is 2 * 1 / (2 + 1) in x, and y does not annotate b."""
    maps = {"x": ([1, 1, 2, 2], [1, 1, 2, 0]), "y": ([1, 1, 1, 2], [1, 0, 0, 0])}  # predicted, reference
    found = [CachedCase(name, tmp_path / name) for name in maps]
    for case, (predicted, reference) in zip(found, maps.values(), strict=True):
        case.folder.mkdir()
        np.save(case.folder / "image.npy", np.array(predicted, dtype=np.float32).reshape(1, 1, 1, 4))
        np.save(case.folder / "labels.npy", np.array(reference, dtype=np.uint8).reshape(1, 1, 1, 4))
    monkeypatch.setattr(validate, "sliding_labels", lambda _network, image, *_: image[0].to(torch.uint8))
    listed = Case("x", Path("x.nii"), None), Case("y", Path("y.nii"), None, annotated=(1,))
    task = Task("Task", ("CT",), ("background", "a", "b", "c"), listed)
    dice = validation_dice(nn.Conv3d(1, 4, 1), found, task=task, plan=PLAN, sliding=SLIDING)
    assert dice == {"a": pytest.approx(3 / 4), "b": pytest.approx(2 / 3), "c": None}
