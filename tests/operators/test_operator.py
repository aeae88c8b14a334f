"""Every operator that conf/op offers keeps the promises of an operator."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from app.layers.cost import strided
from app.layers.norm import ACTIVATIONS, InstanceNorm3d, Style
from app.operators import ConvSpec, operator_from
from tests.support.networks import OPERATORS, SPEC_SIZE, SPECS, bound

OPTIONS = sorted(OPERATORS)


@pytest.mark.parametrize("conv", SPECS, ids=lambda conv: conv.name)
@pytest.mark.parametrize("option", OPTIONS)
class TestEveryOperator:
    def test_shape_gradient_and_eval(self, option: str, conv: ConvSpec) -> None:
        torch.manual_seed(0)
        x = torch.randn(2, conv.in_channels, *SPEC_SIZE).contiguous(memory_format=torch.channels_last_3d)
        silent: set[str] | None = None
        for _ in range(12):  # by chance every hidden unit of a small gate may be silent
            module = bound(option).build(conv)
            y = module(x)
            assert y.shape == (2, conv.out_channels, *strided(SPEC_SIZE, conv.stride))
            y.square().sum().backward()
            gradients = {name: weight.grad for name, weight in module.named_parameters()}
            without = {name for name, grad in gradients.items() if grad is None or not grad.abs().sum() > 0}
            silent = without if silent is None else silent & without
            if not silent:
                break
        assert not silent
        module.eval()
        torch.testing.assert_close(module(x), y)

    @pytest.mark.parametrize("style", [Style("batch", "gelu"), Style("group", "prelu")], ids=str)
    def test_norm_and_activation_are_the_model_s(self, option: str, conv: ConvSpec, style: Style) -> None:
        """None of another kind, but the ReLU inside a gate; of networks of version 1 a style of their own."""
        with torch.device("meta"):
            operator, styled = bound(option), replace(conv, style=style)
            module, earlier = operator.build(styled), operator.build(replace(conv, style=None))
        assert operator.cost(styled, SPEC_SIZE).params == sum(p.numel() for p in module.parameters())
        norms, bends = _kinds(module)
        assert norms <= {type(style.normalise(8))} and bends - {nn.ReLU} <= {type(style.bend(8))}
        if operator.complete(conv):
            assert norms and (bends - {nn.ReLU} or option.startswith("shift"))
            assert _kinds(earlier)[0] == {InstanceNorm3d}

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


def _kinds(module: nn.Module) -> tuple[set[type], set[type]]:
    """Its norms and activations."""
    norms = {InstanceNorm3d, nn.GroupNorm, nn.BatchNorm3d}
    bends = {type(make(8)) for make in ACTIVATIONS.values()}
    found = {type(part) for part in module.modules()}
    return found & norms, found & bends
