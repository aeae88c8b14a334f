"""Receptive fields: those that are computed equal those that backpropagation measures."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from app.analyze.convolutions import layers
from app.analyze.field import ReceptiveFields
from app.analyze.walk import fields
from app.core.errors import InputError
from app.core.types import Size
from app.layers.dice import DiceGate
from app.layers.eca import Eca
from app.layers.grouped import GroupedConv, depthwise, pointwise
from app.models.model import Shape
from app.models.network import build_named, design
from app.models.unet import UNetModel
from app.operators import ConvSpec
from app.operators.antblock import ChannelAttention
from app.operators.cakes import Cakes
from app.operators.plain import Conv3d
from app.operators.rolling import RollingPointwise
from tests.support.networks import OPERATORS, bound

pytestmark = pytest.mark.e2e

OPTIONS = sorted(name for name in OPERATORS if name != "supernet")
SIZE: Size = (37, 38, 36)  # twice the widest field


def field_of(module: nn.Module, channels: int) -> ReceptiveFields:
    """The field after the module as a whole."""
    return fields(module, channels, [""], ())[""]


def opened(module: nn.Module) -> nn.Module:
    """Weights positive; norms, activations and gates that pass everything."""
    for path, part in reversed(list(module.named_modules())):  # parts before what they are part of
        if isinstance(part, nn.GroupNorm | nn.PReLU | nn.ReLU | nn.ReLU6 | nn.LeakyReLU):
            module.set_submodule(path, nn.Identity())
        elif isinstance(part, DiceGate | Eca | ChannelAttention):
            part.forward = lambda x, source: x  # type: ignore[method-assign, misc]
    for weight in module.parameters():
        nn.init.uniform_(weight, 0.5, 1.5)
    return module.double().eval()


def measured(module: nn.Module, channels: int, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """By backpropagation from the middle voxel of each output channel: channels (C, in), voxels (C, 3)."""
    x = torch.rand(1, channels, *size, dtype=torch.float64, requires_grad=True)
    y = module(x)
    seen, extents = [], []
    for channel in y[0]:
        (gradient,) = torch.autograd.grad(channel[tuple(n // 2 for n in channel.shape)], x, retain_graph=True)
        support = gradient[0] != 0
        seen.append(support.flatten(1).any(1).numpy())
        lines = [support.movedim(axis + 1, 0).flatten(1).any(1).nonzero().flatten() for axis in range(3)]
        extents.append([int(line.max() - line.min()) + 1 for line in lines])
    return np.array(seen), np.array(extents)


def assert_equal(field: ReceptiveFields, found: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(field.reach, found[0])
    np.testing.assert_array_equal(field.size, found[1])


def chain(*convs: GroupedConv) -> nn.Sequential:
    return nn.Sequential(*(conv.build() for conv in convs))


@pytest.mark.parametrize(("count", "kernel", "field"), [(1, 3, 3), (2, 3, 5), (4, 3, 9), (2, 5, 9)])
def test_closed_form_of_a_chain(count: int, kernel: int, field: int) -> None:
    found = field_of(chain(*[GroupedConv(2, 2, (kernel,) * 3)] * count), 2)
    assert (found.size == field).all() and (found.jump == 1).all()


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize("option", OPTIONS)
def test_told_is_measured_for_every_operator(option: str, stride: Size) -> None:
    torch.manual_seed(0)
    convs = [
        ConvSpec("encoder.0.0", 8, 12, (3, 3, 3), stride, SIZE),
        ConvSpec("encoder.0.1", 12, 12, (3, 3, 3), (1, 1, 1), SIZE),
    ]
    operator = bound(option, convs)
    module = nn.Sequential(*(operator.build(conv) for conv in convs)).eval()
    told = field_of(module, 8)
    assert_equal(told, measured(opened(module), 8, SIZE))


def test_told_is_measured_through_a_u_net() -> None:
    torch.manual_seed(0)
    shape = Shape(1, 2, (4, 6), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
    for operator in (Conv3d(), Cakes("12d", 1, None)):
        spec = design(UNetModel("plain", 2, 1, False), shape, operator, None)
        network, paths = build_named(spec)
        found = fields(network.eval(), 1, paths.values(), ())
        for name in ("encoder.0.1", "encoder.1.1", "decoder.0.0"):
            seen: list[torch.Tensor] = []
            hook = network.get_submodule(paths[name]).register_forward_hook(
                lambda _m, _x, y, s=seen: s.append(y)
            )
            opened(network)
            _, extents = measured(_Tapped(network, seen), 1, (28, 28, 28))
            hook.remove()
            np.testing.assert_array_equal(found[paths[name]].size, extents)


class _Tapped(nn.Module):
    def __init__(self, network: nn.Module, seen: list[torch.Tensor]) -> None:
        super().__init__()
        self.network, self.seen = network, seen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.clear()
        self.network(x)
        return self.seen[0]


def test_points_widen_nothing_and_depth_never_narrows() -> None:
    single = field_of(chain(pointwise(4, 4)), 4)
    assert (single.size == 1).all() and (single.channels == 4).all()
    apart = field_of(chain(depthwise(4, (3, 3, 3), (1, 1, 1))), 4)
    assert (apart.size == 3).all() and (apart.channels == 1).all()
    rolled = field_of(nn.Sequential(RollingPointwise(8, 8, groups=4, overlap=0.5)), 8)
    assert (rolled.size == 1).all() and (rolled.channels == 2).all()
    deeper: Sequence[GroupedConv] = [
        depthwise(4, (3, 1, 3), (1, 2, 1)),
        pointwise(4, 4),
        depthwise(4, (1, 3, 3), (2, 1, 1)),
    ]
    steps = [field_of(chain(*deeper[: n + 1]), 4) for n in range(3)]
    for before, after in pairwise(steps):
        assert (after.size >= before.size).all() and (after.channels >= before.channels).all()


def test_axes_have_their_own_kernels_and_strides() -> None:
    convs = (
        GroupedConv(1, 1, (1, 3, 3), (1, 2, 2)),
        GroupedConv(1, 1, (3, 3, 5)),
        GroupedConv(1, 1, (3, 1, 1), (2, 1, 1)),
    )
    found = field_of(chain(*convs), 1)
    assert found.size.tolist() == [[5, 3 + 2 * 2, 3 + 4 * 2]] and found.jump.tolist() == [2, 2, 2]


def test_channels_of_mixed_kernels_see_differently() -> None:
    shape = Shape(1, 2, (9, 18), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
    spec = design(UNetModel("plain", 1, 1, False), shape, Cakes("1d", 1, None), None)
    first = layers(spec, (16, 16, 16))[0]
    assert (first.field_min, first.field_max) == ((1, 1, 1), (3, 3, 3))
    assert first.field_mean == pytest.approx((5 / 3,) * 3)


def test_fields_end_at_the_patch() -> None:
    shape = Shape(1, 2, (4, 6), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
    spec = design(UNetModel("residual", 2, 2, True), shape, Conv3d(), None)
    found = layers(spec, (8, 16, 64))
    assert found[-1].field_max[:2] == (8, 16) and 16 < found[-1].field_max[2] < 64
    assert [layer.name for layer in found][-1].startswith("decoder.0")
    assert sum(layer.gain for layer in found) == pytest.approx(found[-1].score)


def test_what_it_cannot_follow_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.cumsum(2)

    with pytest.raises(InputError, match="cumsum"):
        field_of(Odd(), 1)
