"""The ANTBlock: its parameters, attention, residual and groups, and the cost of the published network."""

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from app.core.errors import InputError
from app.layers.grouped import GroupedConv
from app.layers.norm import USUAL, Style
from app.operators import ConvSpec
from app.operators.antblock import Ant, AntBlock, ChannelAttention


def spec(channels: int = 8, out: int = 8, stride: int = 1) -> ConvSpec:
    return ConvSpec("encoder.1.0", channels, out, (3, 3, 3), (stride,) * 3)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_parameters_by_formula(groups: int) -> None:
    """Cin E + K E + 2 E E/r, biases, E Cout/g, and a scale and a shift for each norm."""
    block = Ant(6, 16, groups).build(spec(8, 12))
    expanded, hidden = 48, 3
    convolutions = 8 * 48 + 27 * 48 + 2 * expanded * hidden + (hidden + expanded) + 48 * 12 // groups
    assert sum(p.numel() for p in block.parameters()) == convolutions + 2 * 48 + 2 * 48 + 2 * 12


def test_zero_attention_is_half_of_no_attention() -> None:
    block = AntBlock(spec(8, 12), expansion=6, hidden=3, groups=2)
    assert block.attention is not None
    last = block.attention.gate[3]
    nn.init.zeros_(last.weight), nn.init.zeros_(last.bias)
    projection, x = block.projection[0], block.body(torch.randn(1, 8, 4, 4, 4))
    torch.testing.assert_close(projection(block.attention(x, x)), 0.5 * projection(x))


@pytest.mark.parametrize(
    ("conv", "residual"), [(spec(), True), (spec(8, 12), False), (spec(8, 8, 2), False)], ids=str
)
def test_a_residual_where_nothing_changes(conv: ConvSpec, residual: bool) -> None:
    block = Ant(6, 16, 2).build(conv)
    nn.init.zeros_(block.projection[0].weight)
    x = torch.randn(1, 8, 4, 4, 4)
    assert torch.equal(block(x), x) if residual else block(x).abs().sum() == 0


def test_halves_of_the_projection_are_apart() -> None:
    block = AntBlock(spec(8, 12), expansion=6, hidden=3, groups=2)
    x = torch.randn(1, 48, 2, 2, 2, requires_grad=True)
    assert block.attention is not None
    gated = x * block.attention.gate(x).detach()
    (gradient,) = torch.autograd.grad(block.projection[0](gated)[:, :6].sum(), x)
    assert gradient[:, :24].abs().sum() > 0 and gradient[:, 24:].abs().sum() == 0


def test_nothing_bends_the_projection() -> None:
    operator = Ant(6, 16, 2)
    assert operator.complete(spec(8, 12)) and not operator.complete(spec(1, 8))
    y = operator.build(spec(8, 12))(torch.randn(1, 8, 4, 4, 4))
    assert 0.3 < (y < 0).float().mean() < 0.7


def test_without_groups_and_attention_it_is_mobilenet_v2() -> None:
    block = Ant(6, None, 1).build(replace(spec(), style=Style("instance", "relu6")))
    kinds = [type(m) for m in block.modules() if isinstance(m, nn.Conv3d | nn.ReLU6 | ChannelAttention)]
    assert [issubclass(kind, nn.Conv3d) for kind in kinds] == [True, False, True, False, True]
    assert kinds[1] is kinds[3] is nn.ReLU6
    convs = [m.weight for m in block.modules() if isinstance(m, nn.Conv3d)]
    x = torch.randn(1, 8, 4, 4, 4)
    y = F.relu6(F.instance_norm(F.conv3d(x, convs[0])))
    y = F.relu6(F.instance_norm(F.conv3d(y, convs[1], padding=1, groups=48)))
    y = x + F.instance_norm(F.conv3d(y, convs[2]))
    torch.testing.assert_close(block(x), y, rtol=1e-4, atol=1e-5)


def test_groups_that_do_not_divide_are_refused() -> None:
    for groups in (5, 4):
        with pytest.raises(InputError, match=r"encoder\.1\.0") as error:
            AntBlock(spec(8, 10), expansion=6, hidden=3, groups=groups)
        assert {str(groups), "48", "10"} <= set(re.findall(r"\d+", str(error.value)))
    assert Ant(6, 16, 4).build(spec(8, 10)).projection[0].groups == 2


def test_the_published_network_in_two_dimensions() -> None:
    """Counts of all its blocks with K = 9, its stem, last convolution and classifier: 3.7 to 3.9 M."""
    widths, repeats = (16, 24, 32, 64, 96, 160, 320), (1, 2, 3, 4, 3, 3, 1)
    reductions, total, channels = (8, 8, 12, 16, 24, 32, 64), 32 * 27 + 2 * 32, 32
    for level, (width, count, reduction) in enumerate(zip(widths, repeats, reductions, strict=True)):
        for _ in range(count):
            conv = ConvSpec("a", channels, width, (1, 3, 3), (1, 1, 1))
            total += Ant(6 if level else 1, reduction, 1).cost(conv, (1, 1, 1)).params
            channels = width
    total += GroupedConv(320, 1280, (1, 1, 1)).cost((1, 1, 1)).params + 2 * 1280 + 1280 * 1000 + 1000
    assert 3.7e6 < total < 3.9e6


@pytest.mark.parametrize("style", [None, USUAL], ids=["version 1", "version 2"])
def test_the_attention_sees_the_depthwise_output_before_its_norm(style: Style | None) -> None:
    """In networks of version 1 after norm and activation."""
    block = Ant(6, 16, 2).build(replace(spec(8, 12), style=style))
    seen: list[torch.Tensor] = []
    block.attention.register_forward_hook(lambda _m, x, _y: seen.extend(x))
    x = 3 + torch.randn(2, 8, 4, 4, 4)
    block(x)
    response = block.body[:-2](x)
    y = block.body[-1](block.body[-2](response.clone()))
    torch.testing.assert_close(seen[0], y)
    torch.testing.assert_close(seen[1], response if style else y)


@pytest.mark.parametrize(("squeeze", "numbers"), [("mean", 1), ("moments", 2)])
def test_its_gate_is_a_network_of_means_or_moments(squeeze: str, numbers: int) -> None:
    torch.manual_seed(0)
    attention = ChannelAttention(6, 2, squeeze)
    attention.gate[1].bias.data.fill_(3.0)  # a hidden unit that is silent would hide what it sees
    x, source = torch.randn(2, 6, 3, 3, 3), 1 + 2 * torch.randn(2, 6, 2, 3, 4)
    spread, mean = torch.var_mean(source, (2, 3, 4), correction=0)
    seen = torch.cat([mean, (spread + 1e-5).sqrt().log()][:numbers], dim=1)
    first, second = attention.gate[1], attention.gate[3]
    hidden = F.relu(F.linear(seen, first.weight.flatten(1), first.bias))
    assert (hidden > 0).all()
    gate = F.linear(hidden, second.weight.flatten(1), second.bias).sigmoid()
    torch.testing.assert_close(attention(x, source), x * gate[:, :, None, None, None])


def test_settings_by_level_and_the_taps_of_its_filters() -> None:
    operator = Ant([1, 6], [8, 16], 2, kernel=5)
    fine = operator.build(ConvSpec("encoder.0.1", 8, 8, (3, 3, 3), (1, 1, 1)))
    deep = operator.build(ConvSpec("decoder.1.0", 8, 8, (1, 3, 3), (1, 1, 1)))
    assert [c.body[-3].weight.shape for c in (fine, deep)] == [(8, 1, 5, 5, 5), (48, 1, 1, 5, 5)]
    assert [c.attention.gate[1].out_channels for c in (fine, deep)] == [1, 3]
    with pytest.raises(InputError, match=r"op\.expansion") as error:
        operator.build(ConvSpec("encoder.2.0", 8, 8, (3, 3, 3), (1, 1, 1)))
    assert "encoder.2.0" in str(error.value)
    for values, key in (
        ((6, 16, 2, 4), "op.kernel"),
        ((0, 16, 2), "op.expansion"),
        ((6, [8, 0], 2), "op.reduction"),
    ):
        with pytest.raises(InputError, match=key):
            Ant(*values)  # type: ignore[arg-type]
