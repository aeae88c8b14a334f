"""The DiCE unit: its parameters, its branches, other sizes of input, and its fusion."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.dice import BypassDice, DiceSpec, DiceUnit, StridedDice
from app.layers.dimensionwise import DimensionwiseConv, resize_axis
from app.layers.norm import USUAL, Style
from app.operators import ConvSpec
from app.operators.dicenet import DiceNet

SIZE: Size = (5, 6, 4)
KERNEL: Size = (3, 3, 3)


def weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def with_identity_taps() -> DimensionwiseConv:
    module = DimensionwiseConv(6, KERNEL, SIZE)
    for conv in (module.volume, *module.slices):
        nn.init.zeros_(conv.weight)
        conv.weight.data[:, 0, 1, 1, 1] = 1
    return module


@pytest.mark.parametrize(("channels", "out", "size"), [(32, 32, (16, 16, 16)), (12, 8, SIZE), (6, 7, SIZE)])
def test_parameters_by_formula(channels: int, out: int, size: Size) -> None:
    style = Style("instance", "prelu")
    unit = DiceNet(4).build(ConvSpec("a", channels, out, KERNEL, (1, 1, 1), size, style))
    hidden, shared = max(1, channels // 4), {(32, 32): 32, (12, 8): 4, (6, 7): 1}[channels, out]
    convolutions = 27 * (channels + sum(size)) + 4 * channels + channels * hidden + hidden * out
    convolutions += 27 * channels * out // shared
    norms = 3 * 4 * channels + 3 * channels + 3 * out
    assert weights(unit) == convolutions + norms
    if channels == 32:
        assert (convolutions, weights(unit)) == (3664, 4240)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_branch_is_a_loop_over_slices(axis: int) -> None:
    module = DimensionwiseConv(6, KERNEL, SIZE)
    x = torch.randn(2, 6, *SIZE)
    branch = module(x).unflatten(1, (6, 4))[:, :, axis + 1]
    weight = module.slices[axis].weight
    for place in range(SIZE[axis]):
        slab = x.select(axis + 2, place)  # (B, C, two axes), the channels a spatial axis of the kernel
        order = {0: (0, 1, 2), 1: (1, 0, 2), 2: (2, 0, 1)}[axis]
        kernel = weight[place, 0].permute(order)  # (C, two axes)
        expected = F.conv3d(slab[:, None], kernel[None, None], padding=1)[:, 0]
        torch.testing.assert_close(branch.select(axis + 2, place), expected, atol=1e-5, rtol=1e-5)


def test_slice_d_sees_slice_d_and_near_channels_only() -> None:
    module = DimensionwiseConv(6, KERNEL, SIZE)
    x = torch.randn(1, 6, *SIZE, requires_grad=True)
    out = module(x).unflatten(1, (6, 4))[0, 3, 1, 2].sum()
    (gradient,) = torch.autograd.grad(out, x)
    assert gradient.abs().sum((0, 1, 3, 4)).nonzero().flatten().tolist() == [2]
    assert gradient.abs().sum((0, 2, 3, 4)).nonzero().flatten().tolist() == [2, 3, 4]


def test_branches_of_a_channel_lie_together() -> None:
    module = DimensionwiseConv(6, KERNEL, SIZE)
    x = torch.randn(1, 6, *SIZE)
    together = module(x)
    for channel in range(6):
        torch.testing.assert_close(together[:, 4 * channel], module.volume(x)[:, channel])
        for axis in range(3):
            turned = module.slices[axis](x.transpose(1, axis + 2)).transpose(1, axis + 2)
            torch.testing.assert_close(together[:, 4 * channel + 1 + axis], turned[:, channel])


@pytest.mark.parametrize("size", [(3, 3, 2), (5, 6, 4), (8, 9, 6), (5, 6, 8)])
def test_other_sizes_come_back_as_they_went_in(size: Size, monkeypatch: pytest.MonkeyPatch) -> None:
    resized: list[object] = []
    for name in ("interpolate", "adaptive_avg_pool3d"):
        real = getattr(F, name)
        monkeypatch.setattr(F, name, lambda *a, real=real, **k: (resized.append(a), real(*a, **k))[1])
    module = DimensionwiseConv(6, KERNEL, SIZE)
    assert module(torch.randn(1, 6, *size)).shape == (1, 24, *size)
    assert len(resized) == 2 * sum(a != b for a, b in zip(size, SIZE, strict=True))


def test_identity_taps_give_the_input_in_every_branch() -> None:
    x = torch.randn(1, 6, *SIZE)
    assert torch.equal(with_identity_taps()(x), x.repeat_interleave(4, dim=1))


def test_the_gate_only_shrinks() -> None:
    unit = DiceUnit(DiceSpec(6, 8, KERNEL, SIZE, 3))
    x = torch.randn(2, 6, *SIZE)
    projected = unit.projection(unit.local(unit.dimensionwise(x)))
    assert (unit(x).abs() <= projected.abs()).all() and unit(x).abs().sum() > 0


def test_another_length_is_resized_for_its_branch_only() -> None:
    """Depth 8, where slices are for depth 5: one branch sees averages of it, interpolated back."""
    x = torch.randn(1, 6, 8, 6, 4)
    wanted = x.repeat_interleave(4, dim=1)
    wanted[:, 1::4] = resize_axis(resize_axis(x, 0, 5), 0, 8)
    torch.testing.assert_close(with_identity_taps()(x), wanted)


@pytest.mark.parametrize(("channels", "out", "groups"), [(8, 12, 4), (6, 6, 6), (8, 5, 1)])
def test_global_fusion_has_as_many_groups_as_both_widths_share(channels: int, out: int, groups: int) -> None:
    assert DiceUnit(DiceSpec(channels, out, KERNEL, SIZE, channels)).projection[0].groups == groups


def test_without_a_planned_patch_it_is_refused() -> None:
    with pytest.raises(InputError, match=r"encoder\.1\.0") as error:
        DiceNet(4).build(ConvSpec("encoder.1.0", 8, 8, KERNEL, (1, 1, 1)))
    assert "op=dice" in str(error.value)


@pytest.mark.parametrize("style", [None, USUAL], ids=["version 1", "version 2"])
def test_the_gate_reads_the_local_fusion(style: Style | None) -> None:
    """Before its norm; in networks of version 1 after norm and activation."""
    unit = DiceUnit(DiceSpec(6, 8, KERNEL, SIZE, 3, style=style))
    seen: list[torch.Tensor] = []
    unit.gate.register_forward_hook(lambda _m, x, _y: seen.append(x[1]))
    x = 5 + torch.randn(2, 6, *SIZE)
    unit(x)
    response = unit.local[0](unit.dimensionwise(x))
    torch.testing.assert_close(seen[0], response if style else unit.local[1:](response))


def test_its_activation_bends_by_a_learnt_slope_or_as_the_model_says() -> None:
    for style, bent in ((None, nn.PReLU), (Style("batch", "silu"), nn.SiLU)):
        unit = DiceUnit(DiceSpec(6, 8, KERNEL, SIZE, 3, style=style))
        parts = [unit.dimensionwise, unit.local, unit.projection]
        assert {type(part[2]) for part in parts} == {bent}
    earlier = DiceUnit(DiceSpec(6, 8, KERNEL, SIZE, 3))
    for part in (earlier.dimensionwise, earlier.local, earlier.projection):
        below = torch.full((1, part[2].weight.numel(), 1, 1, 1), -2.0)
        assert torch.equal(part[2](below), 0.25 * below)  # the slope that training begins with


def test_an_axis_is_resized_linearly_and_shrunk_by_averages() -> None:
    x = torch.tensor([0.0, 3.0]).reshape(1, 1, 1, 1, 2)
    assert resize_axis(x, 2, 4).flatten().tolist() == [0, 1, 2, 3]
    assert resize_axis(
        torch.tensor([0.0, 1.0, 4.0, 5.0]).reshape(1, 1, 1, 1, 4), 2, 2
    ).flatten().tolist() == [0.5, 4.5]


def test_half_of_the_channels_pass_a_block_and_are_shuffled_in() -> None:
    block = DiceNet(4, "block").build(ConvSpec("a", 8, 12, KERNEL, (1, 1, 1), SIZE))
    assert isinstance(block, BypassDice) and block.kept == 4
    x = torch.randn(2, 8, *SIZE)
    y, right = block(x), block.right(x[:, 4:])
    assert right.shape[1] == 8 and y.shape[1] == 12
    together = torch.cat([x[:, :4], right], dim=1)
    assert torch.equal(y[:, 0::2], together[:, :6]) and torch.equal(y[:, 1::2], together[:, 6:])
    assert [type(part) for part in block.right][-1] is DiceUnit


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2)])
def test_a_strided_unit_joins_filters_and_averages(stride: Size) -> None:
    unit = DiceNet(4, "block").build(ConvSpec("a", 6, 10, KERNEL, stride, SIZE))
    assert isinstance(unit, StridedDice)
    x = torch.randn(1, 6, *SIZE)
    y, left, right = unit(x), unit.left(x), unit.right(x)
    assert left.shape == right.shape == (1, 5, *(-(-n // step) for n, step in zip(SIZE, stride, strict=True)))
    assert torch.equal(y[:, 0::2], left) and torch.equal(y[:, 1::2], right)
    kernel = [3 if step > 1 else 1 for step in stride]
    pooled = F.avg_pool3d(x, kernel, stride, [n // 2 for n in kernel])
    torch.testing.assert_close(unit.right[0](x), pooled)
    assert unit.left[0].groups == 6 and unit.left[0].stride == stride
