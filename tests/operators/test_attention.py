from pathlib import Path

import pytest
import torch

from app.core.errors import InputError
from app.layers.eca import Eca
from app.models.blocks import PlainBlock, ResidualBlock
from app.models.model import Shape
from app.models.network import design, network_from
from app.models.unet import UNetModel
from app.operators import ConvSpec, operator_from
from app.operators.attention import Attended
from app.operators.cakes import Cakes
from app.operators.plain import Conv3d
from tests.support.networks import SPECS, bound

OPTIONS = sorted(path.stem for path in Path("conf/op").glob("*.yaml"))
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
def test_the_gate_differs_from_input_to_input(block: type[PlainBlock] | type[ResidualBlock]) -> None:
    """Right after an instance norm it would not: the norm's mean is its shift, whatever comes in."""
    torch.manual_seed(0)
    module = block([EIGHT] * block.convolutions, Attended(Conv3d(), "eca"))
    seen: list[torch.Tensor] = []
    for gate in (m for m in module.modules() if isinstance(m, Eca)):
        gate.register_forward_hook(lambda _module, x, y: seen.append((y / x[0]).mean((2, 3, 4))))
    module(torch.stack([torch.randn(8, 4, 4, 4), torch.rand(8, 4, 4, 4) ** 8]))
    (gates,) = seen
    assert (gates[0] - gates[1]).abs().max() > 1e-3


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
