"""The super-network of the CAKES paper: values by hand, which paths take part, and the U-Net around it."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout
from app.models.model import Shape
from app.models.network import NetworkSpec, design
from app.models.unet import UNetModel
from app.operators.mixed import Mixed, MixedConv3d
from app.operators.paths import PathsConv3d, RandomPathsConv3d
from app.operators.supernet import SuperNet

LINE, POINT, PLANE = (Kernel(size) for size in ((3, 1, 1), (1, 1, 1), (1, 3, 3)))
ONES = (1, 1, 1)
TWO = (2, 2, 2)
SHAPE = Shape(2, 3, (4, 6, 8), (ONES, TWO, TWO), ((1, 3, 3), (3, 3, 3), (3, 3, 3)), (8, 8, 8))
UNET = UNetModel(block="plain", encoder_blocks=2, decoder_blocks=1, deep_supervision=True)
PAPER = SuperNet("123d", "encoder", "concatenated", "separate", 0.1)


def spec(where: str = "encoder", paths: str = "concatenated", block: str = "plain") -> NetworkSpec:
    return design(replace(UNET, block=block), SHAPE, replace(PAPER, where=where, paths=paths), None)


def random_paths() -> RandomPathsConv3d:
    torch.manual_seed(0)
    module = RandomPathsConv3d(3, 4, (LINE, POINT, PLANE), ONES)
    module.norm.weight.data.uniform_(0.5, 1.5)
    module.norm.bias.data.uniform_(0.5, 1.5)
    return module


def test_each_path_is_a_convolution_batch_norm_and_relu_by_hand() -> None:
    """The line (1, 2, 3) by three taps of 1 along it is (3, 6, 5), by one tap of 2 it is (2, 4, 6)."""
    module = PathsConv3d(1, 1, (LINE, POINT), ONES)
    for group, tap in zip(module.paths.groups, (1.0, 2.0), strict=True):
        nn.init.constant_(group.weight, tap)  # type: ignore[arg-type]
    module.norm.weight.data = torch.tensor([3.0, -1.0])
    module.norm.bias.data = torch.tensor([0.5, 0.25])
    y = module(torch.tensor([1.0, 2.0, 3.0])[None, None, :, None, None])[0, :, :, 0, 0]
    first = 3 * (6 - 14 / 3) / (14 / 9 + 1e-5) ** 0.5 + 0.5, 3 * (5 - 14 / 3) / (14 / 9 + 1e-5) ** 0.5 + 0.5
    second = (4 - 2) / (8 / 3 + 1e-5) ** 0.5 + 0.25
    torch.testing.assert_close(y, torch.tensor([[0.0, *first], [second, 0.25, 0.0]]))
    torch.testing.assert_close(module.norm.running_mean, torch.tensor([14 / 30, 0.4]))
    torch.testing.assert_close(module.gates, torch.tensor([[3.0], [-1.0]]))
    torch.testing.assert_close(module.scores(), torch.tensor([[3.0], [1.0]]))


def test_scales_begin_at_one_and_paths_have_weights_of_their_own() -> None:
    module = PathsConv3d(5, 4, (LINE, PLANE), ONES)
    assert torch.equal(module.gates, torch.ones(2, 4))
    assert [tuple(group.weight.shape) for group in module.paths.groups] == [  # type: ignore[union-attr]
        (4, 5, 3, 1, 1),
        (4, 5, 1, 3, 3),
    ]


def test_a_random_choice_of_as_many_paths_as_slots_takes_part_in_training() -> None:
    module, x = random_paths().train(), torch.randn(2, 3, 6, 6, 6)
    seen, slots = set(), []
    for _ in range(30):
        before = module.norm.running_mean.clone()  # type: ignore[union-attr]
        alive = module(x).flatten(2).abs().amax((0, 2)) > 0
        moved = module.norm.running_mean != before
        assert torch.equal(alive, moved) and alive.sum() == 4
        active = torch.nonzero(alive)[:, 0].tolist()
        seen |= set(active)
        slots.append(len({path % 4 for path in active}))
    assert seen == set(range(12))
    assert min(slots) < 4 == max(slots)  # of all paths: a slot may have none or several


def test_paths_that_take_part_are_as_in_the_network_of_all_paths() -> None:
    module, x = random_paths().train(), torch.randn(2, 3, 6, 6, 6)
    whole = PathsConv3d(3, 4, (LINE, POINT, PLANE), ONES).train()
    whole.load_state_dict(module.state_dict())
    y, all_paths = module(x), whole(x)
    alive = y.flatten(2).abs().amax((0, 2)) > 0
    torch.testing.assert_close(y[:, alive], all_paths[:, alive], atol=1e-5, rtol=1e-5)
    for name in ("running_mean", "running_var"):
        found, wanted = getattr(module.norm, name), getattr(whole.norm, name)
        torch.testing.assert_close(found[alive], wanted[alive])
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


def test_in_eval_mode_the_largest_scales_take_part() -> None:
    module, x = random_paths(), torch.randn(1, 3, 6, 6, 6)
    module.norm.weight.data[[1, 5, 6, 11]] = torch.tensor([2.0, -3.0, 4.0, -5.0])
    alive = module.eval()(x).flatten(2).abs().amax((0, 2)) > 0
    assert torch.nonzero(alive)[:, 0].tolist() == [1, 5, 6, 11]
    nn.init.ones_(module.norm.weight)  # of equal scales the first, and never more than slots
    assert module._active() == [0, 1, 2, 3]


def test_the_cost_of_a_random_choice_is_counted_with_similar_numbers_of_each_kernel() -> None:
    """Two lines of 3 taps, a point and a plane of 9 read 3 channels at 216 places."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        RandomPathsConv3d(3, 4, (LINE, POINT, PLANE), ONES).eval()(torch.empty(1, 3, 6, 6, 6))
    assert counter.get_total_flops() // 2 == 3 * 216 * (2 * 3 + 1 + 9)


@pytest.mark.parametrize("where", ["encoder", "all"])
@pytest.mark.parametrize("paths", ["concatenated", "concatenated_random"])
def test_every_convolution_of_the_u_net_reads_all_paths_before_it(where: str, paths: str) -> None:
    """Level 0 has three kernels on flat taps besides the point: four of the seven are distinct there."""
    torch.manual_seed(0)
    network = spec(where, paths).build().train()
    parts = {path: part for path, part in network.named_modules() if isinstance(part, PathsConv3d)}
    shapes = [(part.paths.groups[0].in_channels, len(part.norm.weight)) for part in parts.values()]
    assert shapes[:6] == [(2, 16), (16, 16), (16, 42), (42, 42), (42, 56), (56, 56)]
    assert shapes[6:] == ([] if where == "encoder" else [(4 + 16, 16), (6 + 42, 42)])
    assert network.up[1].in_channels == 56  # type: ignore[union-attr,index]
    assert network.heads[0].in_channels == (4 if where == "encoder" else 16)  # type: ignore[union-attr,index]
    logits = network(torch.randn(2, 2, 8, 8, 8))
    assert [tuple(level.shape) for level in logits] == [(2, 3, 8, 8, 8), (2, 3, 4, 4, 4)]
    sum(level.square().mean() for level in logits).backward()
    assert all(part.norm.weight.grad is not None for part in parts.values())


def test_residual_blocks_are_as_wide_as_their_paths() -> None:
    network = spec(block="residual").build().eval()
    assert tuple(network(torch.randn(1, 2, 8, 8, 8)).shape) == (1, 3, 8, 8, 8)


def test_the_network_rebuilds_itself_and_shrinks_to_one_of_the_asked_width() -> None:
    searched = spec("all")
    assert (
        type(searched.encoder).from_values(
            {key: value for key, value in searched.encoder.describe().items() if key != "kind"}
        )
        == searched.encoder
    )
    layout = Layout({"encoder.1.0": {LINE: 4, POINT: 2}})
    shrunk = design(UNET, SHAPE, Mixed(layout), None).build()
    (mixed,) = (part for part in shrunk.modules() if isinstance(part, MixedConv3d))
    assert [(group.in_channels, group.out_channels) for group in mixed.groups] == [(4, 4), (4, 2)]


@pytest.mark.parametrize("form", ["all", "random"])
def test_the_summed_super_network_of_earlier_versions_is_refused_by_name(form: str) -> None:
    with pytest.raises(InputError, match="paths") as error:
        replace(PAPER, paths=form)
    for token in (form, "concatenated_random", "earlier"):
        assert token in str(error.value)
