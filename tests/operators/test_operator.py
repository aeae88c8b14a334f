"""Every operator that conf/op offers keeps the promises of an operator."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from app.layers.cost import strided
from app.operators import ConvSpec, operator_from
from tests.support.networks import SPEC_SIZE, SPECS, bound

OPTIONS = sorted(path.stem for path in Path("conf/op").glob("*.yaml"))


@pytest.mark.parametrize("conv", SPECS, ids=lambda conv: conv.name)
@pytest.mark.parametrize("option", OPTIONS)
class TestEveryOperator:
    def test_shape_gradient_and_eval(self, option: str, conv: ConvSpec) -> None:
        torch.manual_seed(0)  # by chance every hidden unit of a small gate may be silent
        module = bound(option).build(conv)
        x = torch.randn(2, conv.in_channels, *SPEC_SIZE).contiguous(memory_format=torch.channels_last_3d)
        y = module(x)
        assert y.shape == (2, conv.out_channels, *strided(SPEC_SIZE, conv.stride))
        y.square().sum().backward()
        for name, weight in module.named_parameters():
            assert weight.grad is not None and weight.grad.abs().sum() > 0, name
        module.eval()
        torch.testing.assert_close(module(x), y)

    def test_state_dict_reload_through_the_description(self, option: str, conv: ConvSpec) -> None:
        operator = bound(option)
        module, again = operator.build(conv), operator_from(operator.describe()).build(conv)
        again.load_state_dict(module.state_dict())
        x = torch.randn(1, conv.in_channels, *SPEC_SIZE)
        assert torch.equal(module(x), again(x))

    def test_declared_cost_is_the_counted_one(self, option: str, conv: ConvSpec) -> None:
        operator = bound(option)
        with torch.device("meta"):
            module = operator.build(conv)
            with FlopCounterMode(display=False) as counter:
                module(torch.empty(1, conv.in_channels, *SPEC_SIZE))
        cost = operator.cost(conv, SPEC_SIZE)
        assert cost.params == sum(weight.numel() for weight in module.parameters())
        assert cost.macs == counter.get_total_flops() // 2
