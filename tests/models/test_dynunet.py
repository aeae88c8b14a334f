"""MONAI's DynUNet as one of our models."""

import re

import pytest
import torch

from app.analyze.convolutions import layers
from app.core.errors import InputError
from app.models.dynunet import DynUNetModel
from app.models.model import Shape
from app.models.network import design, network_from, to_device
from app.operators.cakes import Cakes
from app.operators.plain import Conv3d

SHAPE = Shape(
    in_channels=2,
    classes=3,
    widths=(4, 8, 12, 16),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
)
DYNUNET = DynUNetModel(deep_supervision=True)


def test_it_trains_costs_and_rebuilds_itself() -> None:
    torch.manual_seed(0)
    spec = design(DYNUNET, SHAPE, Conv3d(), None)
    network = to_device(spec.build(), torch.device("cpu"))
    x = torch.randn(2, 2, 8, 16, 16).contiguous(memory_format=torch.channels_last_3d)
    outputs = network(x)
    assert [tuple(level.shape) for level in outputs] == [(2, 3, 8, 16, 16)] * 3
    sum(level.square().mean() for level in outputs).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    cost = spec.cost((8, 16, 16))
    assert cost.params == sum(p.numel() for p in network.parameters()) and cost.macs > 0
    again = to_device(network_from(spec.describe()).build(), torch.device("cpu"))
    again.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x), again.eval()(x))


def test_operators_and_too_few_levels_are_refused() -> None:
    cakes = Cakes("12d", 1, None)
    for operator, decoder, given in ((cakes, None, {"Cakes"}), (Conv3d(), cakes, {"Conv3d", "Cakes"})):
        with pytest.raises(InputError, match="op=conv3d") as error:
            design(DYNUNET, SHAPE, operator, decoder)
        assert "DynUNetModel" in str(error.value)
        assert set(re.findall(r"\b(?:Conv3d|Cakes)\b", str(error.value))) == given  # as classes are written
    with pytest.raises(InputError, match="mode=analyze") as error:
        layers(design(DYNUNET, SHAPE, Conv3d(), None), (8, 16, 16))
    assert "DynUNetModel" in str(error.value)
    shallow = Shape(1, 2, (4, 8, 8), ((1, 1, 1), (2, 2, 2), (2, 2, 2)), ((3, 3, 3),) * 3)
    with pytest.raises(InputError, match="model=dynunet") as error:
        design(DYNUNET, shallow, Conv3d(), None)
    for levels in (3, 4):  # given, wanted
        assert re.search(rf"\b{levels}\b", str(error.value))
