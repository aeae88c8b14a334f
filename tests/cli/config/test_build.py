"""Objects from the configuration."""

from pathlib import Path

import pytest

from app.cli.config.build import build_loss
from app.core.errors import InputError
from app.data.sets.decathlon import read_task
from tests.support.config import composed
from tests.support.volumes import MakeTask


@pytest.mark.parametrize("loss", ["dice_ce", "dice_focal", "focal", "tversky_ce"])
def test_an_option_that_a_loss_lacks_is_named_with_those_it_has(
    loss: str, make_task: MakeTask, tmp_path: Path
) -> None:
    task = read_task(make_task(cases=2))
    with pytest.raises(InputError, match=r"^loss\.weight: got \[1, 5\].*loss\.class_weights"):
        build_loss(composed(f"loss={loss}", "+loss.weight=[1,5]"), task)
    build_loss(composed(f"loss={loss}", "loss.class_weights={blob: 5}"), task)
