"""Every operator that conf/op offers keeps the promises of an operator."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

from app.core.types import Size
from app.layers.cost import strided
from app.operators import ConvSpec, Operator, operator_from

OPTIONS = sorted(path.stem for path in Path("conf/op").glob("*.yaml"))
SIZE: Size = (7, 9, 6)
SPECS = [
    ConvSpec("encoder.0.0", 1, 16, (3, 3, 3), (1, 1, 1), SIZE),
    ConvSpec("encoder.1.0", 6, 20, (3, 3, 3), (2, 2, 2), SIZE),
    ConvSpec("encoder.2.0", 6, 10, (1, 3, 3), (1, 2, 2), SIZE),
    ConvSpec("decoder.0.0", 8, 5, (3, 3, 3), (1, 1, 1), SIZE),
]


def bound(option: str) -> Operator:
    operator = instantiate(OmegaConf.load(f"conf/op/{option}.yaml"), _convert_="all")
    assert isinstance(operator, Operator)
    return operator.bind(SPECS)


@pytest.mark.parametrize("conv", SPECS, ids=lambda conv: conv.name)
@pytest.mark.parametrize("option", OPTIONS)
class TestEveryOperator:
    def test_shape_gradient_and_eval(self, option: str, conv: ConvSpec) -> None:
        torch.manual_seed(0)  # by chance every hidden unit of a small gate may be silent
        module = bound(option).build(conv)
        x = torch.randn(2, conv.in_channels, *SIZE).contiguous(memory_format=torch.channels_last_3d)
        y = module(x)
        assert y.shape == (2, conv.out_channels, *strided(SIZE, conv.stride))
        y.square().sum().backward()
        for name, weight in module.named_parameters():
            assert weight.grad is not None and weight.grad.abs().sum() > 0, name
        module.eval()
        torch.testing.assert_close(module(x), y)

    def test_state_dict_reload_through_the_description(self, option: str, conv: ConvSpec) -> None:
        operator = bound(option)
        module, again = operator.build(conv), operator_from(operator.describe()).build(conv)
        again.load_state_dict(module.state_dict())
        x = torch.randn(1, conv.in_channels, *SIZE)
        assert torch.equal(module(x), again(x))

    def test_declared_cost_is_the_counted_one(self, option: str, conv: ConvSpec) -> None:
        operator = bound(option)
        with torch.device("meta"):
            module = operator.build(conv)
            with FlopCounterMode(display=False) as counter:
                module(torch.empty(1, conv.in_channels, *SIZE))
        cost = operator.cost(conv, SIZE)
        assert cost.params == sum(weight.numel() for weight in module.parameters())
        assert cost.macs == counter.get_total_flops() // 2
