from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from app.core.errors import InputError
from app.layers.eca import Eca, EcaSettings
from app.models.blocks import PlainBlock, ResidualBlock
from app.models.model import Shape
from app.models.network import design, network_from
from app.models.unet import UNetModel
from app.operators import ConvSpec, operator_from
from app.operators.attention import Attended
from app.operators.cakes import Cakes
from app.operators.plain import Conv3d
from tests.support.networks import SPECS, bound

OPTIONS = sorted(path.stem for path in Path("conf/op").glob("*.yaml") if path.stem != "supernet")
EIGHT = ConvSpec("encoder.1.1", 8, 8, (3, 3, 3), (1, 1, 1), (4, 4, 4))


@pytest.mark.parametrize("option", OPTIONS)
def test_it_can_follow_any_operator(option: str) -> None:
    torch.manual_seed(0)
    operator = Attended(bound(option), "eca").bind(SPECS)
    conv = SPECS[1]
    block = PlainBlock([conv], operator)
    again = PlainBlock([conv], operator_from(operator.describe()))
    again.load_state_dict(block.state_dict())
    x = torch.randn(2, conv.in_channels, 7, 9, 6)
    y = block(x)
    assert torch.equal(y, again(x)) and y.shape[1] == conv.out_channels
    y.square().sum().backward()
    gates = [module for module in block.modules() if isinstance(module, Eca)]
    assert len(gates) == 1 and gates[0].conv.weight.grad is not None
    assert gates[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("block", [PlainBlock, ResidualBlock])
def test_the_gate_sees_the_last_convolution_before_its_norm(
    block: type[PlainBlock] | type[ResidualBlock],
) -> None:
    """So it differs from input to input; the mean after an instance norm is its shift, whatever comes in."""
    torch.manual_seed(0)
    module = block([EIGHT] * block.convolutions, Attended(Conv3d(), "eca"))
    (gate,) = (m for m in module.modules() if isinstance(m, Eca))
    last = [m for m in module.modules() if isinstance(m, nn.Conv3d)][block.convolutions - 1]
    responses: list[torch.Tensor] = []
    sources: list[torch.Tensor] = []
    last.register_forward_hook(lambda _m, _x, y: responses.append(y))
    gate.register_forward_hook(lambda _m, x, _y: sources.append(x[1]))
    module(torch.stack([torch.randn(8, 4, 4, 4), torch.rand(8, 4, 4, 4) ** 8]))
    assert torch.equal(sources[0], responses[0])
    means = sources[0].mean((2, 3, 4))
    assert (means[0] - means[1]).abs().max() > 0.05


@pytest.mark.parametrize("block", [PlainBlock, ResidualBlock])
def test_gates_of_version_1_see_what_the_first_activation_leaves(
    block: type[PlainBlock] | type[ResidualBlock],
) -> None:
    conv = replace(EIGHT, style=None)
    module = block([conv] * block.convolutions, Attended(Conv3d(), "eca"))
    first = module if isinstance(module, PlainBlock) else module.first
    (gate,) = (m for m in module.modules() if isinstance(m, Eca))
    assert first[-1] is gate
    x = torch.randn(2, 8, 4, 4, 4)
    y = first[2](first[1](first[0](x)))
    torch.testing.assert_close(first(x), gate(y, y))


@pytest.mark.parametrize("option", ["antblock", "dicenet", "shift"])
def test_operators_with_their_own_norm_take_the_gate_before_it(option: str) -> None:
    torch.manual_seed(0)
    operator = Attended(bound(option), "eca", EcaSettings(squeeze="moments"))
    block = PlainBlock([EIGHT], operator)
    (gate,) = (m for m in block.modules() if isinstance(m, Eca))
    seen: list[torch.Tensor] = []
    gate.register_forward_hook(lambda _m, x, _y: seen.append(x[1]))
    block(torch.stack([torch.randn(8, 4, 4, 4), 5 + torch.randn(8, 4, 4, 4)]))
    means = seen[0].mean((2, 3, 4))
    assert len(seen) == 1 and (means[0] - means[1]).abs().max() > 1e-3
    earlier = PlainBlock([replace(EIGHT, style=None)], operator)
    assert isinstance(earlier[-1], Eca)  # after the whole module, as networks of version 1


def test_kernels_by_level_are_described() -> None:
    operator = Attended(Conv3d(), "eca", EcaSettings(kernel=[3, 5], squeeze="moments"))
    assert operator_from(operator.describe()) == operator
    taps = [
        operator.gates(replace(EIGHT, name=f"encoder.{level}.0"))[0].conv.weight.shape for level in (0, 1)
    ]
    assert taps == [(1, 2, 3), (1, 2, 5)]
    with pytest.raises(InputError, match=r"op\.eca\.kernel"):
        operator.gates(replace(EIGHT, name="encoder.2.0"))
    described = {**operator.describe()}
    del described["eca"]  # as a checkpoint of version 1
    assert operator_from(described) == Attended(Conv3d(), "eca")


def test_a_layout_is_seen_through_the_gate() -> None:
    shape = Shape(1, 2, (8, 16), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
    model = UNetModel("plain", 1, 1, False)
    spec = design(model, shape, Attended(Cakes("1d", 1, None), "eca"), None)
    layout = spec.layout()
    assert layout is not None and set(layout.convolutions) == {"encoder.0.0", "encoder.1.0", "decoder.0.0"}
    assert network_from(spec.describe()) == spec
    plain = design(model, shape, Cakes("1d", 1, None), None)
    assert spec.cost((8, 8, 8)).params - plain.cost((8, 8, 8)).params == 3 * 3


def test_unknown_gates_are_named() -> None:
    with pytest.raises(InputError, match=r"op\.attention") as error:
        Attended(Conv3d(), "squeeze")
    assert "squeeze" in str(error.value) and "eca" in str(error.value)
