"""The layouts in conf/op/layouts fit the network they say they are for, and cost what they say."""

from pathlib import Path

import pytest

from app.core.kernel import Kernel
from app.core.layout import read_layout
from app.core.types import as_size
from app.models.model import Shape
from app.models.network import list_convolutions
from app.models.unet import UNetModel
from app.operators.mixed import Mixed
from app.search.costs import MacsCost, Site, dense_total, total_cost

LAYOUTS = sorted(Path("conf/op/layouts").glob("*.yaml"))


def test_there_are_some() -> None:
    assert LAYOUTS


@pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: path.stem)
def test_a_committed_layout_binds_and_its_share_is_what_is_counted(path: Path) -> None:
    layout = read_layout(path)
    widths = tuple(sum(layout.convolutions[f"encoder.{level}.0"].values()) for level in range(4))
    patch = as_size(layout.provenance["patch"])
    strides = ((1, 1, 1), *((2, 2, 2),) * 3)
    shape = Shape(1, 3, widths, strides, ((3, 3, 3),) * 4, patch)
    convolutions = list_convolutions(UNetModel("plain", 2, 2, deep_supervision=True), shape)
    assert Mixed(layout).bind(convolutions) == Mixed(layout)
    sites = [Site(conv, (Kernel(conv.kernel),)) for conv in convolutions]
    share = total_cost(sites, layout.convolutions, MacsCost()) / dense_total(sites, MacsCost())
    assert share == pytest.approx(layout.provenance["share"], abs=1e-5)
