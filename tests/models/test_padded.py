"""MONAI's SegResNet and MedNeXt as two of our models, on sizes that do not halve evenly."""

import pytest
import torch

from app.models.mednext import MedNeXtModel
from app.models.model import Model, Shape
from app.models.network import design, network_from, to_device
from app.models.padded import Padded
from app.models.segresnet import SegResNetModel
from app.operators.plain import Conv3d

SHAPE = Shape(2, 3, (4, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
SEGRESNET = SegResNetModel(init_filters=8, blocks_down=(1, 1, 1), blocks_up=(1, 1))
MEDNEXT = MedNeXtModel(init_filters=4, blocks=(1, 1), expansion=2, kernel_size=3, deep_supervision=True)


@pytest.mark.parametrize(("model", "outputs"), [(SEGRESNET, 1), (MEDNEXT, 3)])
def test_they_train_cost_and_rebuild_themselves(model: Model, outputs: int) -> None:
    torch.manual_seed(0)
    spec = design(model, SHAPE, Conv3d(), None)
    network = to_device(spec.build(), torch.device("cpu"))
    x = torch.randn(2, 2, 6, 9, 16)
    found = network(x)
    levels = found if isinstance(found, list) else [found]
    assert [tuple(level.shape) for level in levels] == [(2, 3, 6, 9, 16)] * outputs
    sum(level.square().mean() for level in levels).backward()
    trained = [name for name, weight in network.named_parameters() if weight.grad is not None]
    unused = {name for name, _ in network.named_parameters()} - set(trained)
    assert all("dummy_tensor" in name for name in unused)
    assert spec.cost((8, 16, 16)).macs > 0
    again = to_device(network_from(spec.describe()).build(), torch.device("cpu"))
    again.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x), again.eval()(x))


def test_padding_repeats_edges_and_is_cut_away() -> None:
    seen: list[torch.Tensor] = []

    class Same(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x

    x = torch.arange(3.0).reshape(1, 1, 3, 1, 1).expand(1, 1, 3, 4, 4)
    assert torch.equal(Padded(Same(), 4)(x), x)
    assert seen[0].shape == (1, 1, 4, 4, 4) and seen[0][0, 0, :, 0, 0].tolist() == [0, 1, 2, 2]
