"""Weights from one network into another of other widths and kernels."""

from dataclasses import replace

import torch

from app.core.kernel import Kernel
from app.core.layout import Layout
from app.models.network import design
from app.models.unet import UNetModel
from app.operators.mixed import MixedConv3d
from app.operators.plain import Conv3d
from app.search.heirs import take_over
from app.search.pricing import laid_out_network, outline_of
from tests.support.searching import DENSE, small_space

PLANE, LINE, CUBE = Kernel((1, 3, 3)), Kernel((3, 1, 1)), Kernel((3, 3, 3))
X = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))


def network(layout: Layout, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return laid_out_network(DENSE, layout).build().eval()


def first_convolutions(*counts: dict[Kernel, int]) -> Layout:
    named = {f"encoder.0.{index}": groups for index, groups in enumerate(counts)}
    return Layout(named, network=outline_of(DENSE))


@torch.no_grad()
def test_the_same_network_computes_the_same() -> None:
    layout = small_space().random(3)
    target, source = network(layout, 0), network(layout, 1)
    take_over(target, source)
    torch.testing.assert_close(target.eval()(X), source(X))


@torch.no_grad()
def test_channels_in_another_order_and_with_more_taps_compute_the_same() -> None:
    source = network(first_convolutions({PLANE: 10, LINE: 6}, {LINE: 16}), 1)
    target = network(first_convolutions({LINE: 6, PLANE: 8, CUBE: 2}, {CUBE: 4, LINE: 12}), 0)
    take_over(target, source)
    torch.testing.assert_close(target.eval()(X), source(X), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_sums_of_a_residual_network_add_the_same_channels() -> None:
    """A projection takes the channels in the order of the convolution that it is added to."""
    residual = design(UNetModel("residual", 2, 1, deep_supervision=True), DENSE.shape, Conv3d(), None)
    layouts = (
        first_convolutions({LINE: 6, PLANE: 10}, {LINE: 8, PLANE: 8}),
        first_convolutions({PLANE: 10, LINE: 6}, {PLANE: 8, LINE: 8}),
    )
    target, source = (laid_out_network(residual, layout).build().eval() for layout in layouts)
    take_over(target, source)
    path, order = "encoder.0.0.shortcut.0.weight", [*range(8, 16), *range(8)]
    torch.testing.assert_close(target.get_parameter(path), source.get_parameter(path)[order])
    torch.testing.assert_close(target.eval()(X), source(X), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_wider_levels_keep_what_there_was_and_narrower_ones_a_part() -> None:
    outline = outline_of(DENSE)
    wide = replace(outline, widths=(24, 16, 64), decoder_width=1.0)
    layouts = [
        Layout({"encoder.0.0": {PLANE: width}}, network=of) for width, of in ((16, outline), (24, wide))
    ]
    source, target = network(layouts[0], 1), network(layouts[1], 0)
    before = {name: values.clone() for name, values in target.state_dict().items()}
    take_over(target, source)
    convs = [each.get_submodule("encoder.0.0.0") for each in (target, source)]
    assert all(isinstance(conv, MixedConv3d) for conv in convs)
    weights = [conv.get_parameter("groups.0.weight") for conv in convs]
    torch.testing.assert_close(weights[0][:16], weights[1])
    torch.testing.assert_close(weights[0][16:], before["encoder.0.0.0.groups.0.weight"][16:])
    narrower = "encoder.1.1.0.weight"
    torch.testing.assert_close(target.state_dict()[narrower], source.state_dict()[narrower][:16, :16])
    assert target.eval()(X).isfinite().all()
