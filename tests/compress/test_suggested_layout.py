import torch

from app.compress.suggested_layout import suggested_layout
from app.core.kernel import Kernel
from app.models.model import Shape
from app.models.network import design
from app.models.unet import UNetModel
from app.operators.mixed import Mixed


def test_channels_are_shared_out_by_the_energy_of_the_filters() -> None:
    """Three quarters of the energy in slices, a quarter across them: 6 and 2 of 8 channels."""
    conv = torch.nn.Conv3d(2, 8, 3, bias=False)
    torch.nn.init.zeros_(conv.weight)
    conv.weight.data[:, 0, 1, :, :] = (3 / 9) ** 0.5
    conv.weight.data[:, 1, :, 1, 1] = (1 / 3) ** 0.5
    layout = suggested_layout({"encoder.0.1": conv})
    assert layout.convolutions == {"encoder.0.1": {Kernel((1, 3, 3)): 6, Kernel((3, 1, 1)): 2}}


def test_it_is_a_layout_of_the_network_it_came_from() -> None:
    shape = Shape(1, 2, (8, 16), ((1, 1, 1), (2, 2, 2)), ((1, 3, 3), (3, 3, 3)))
    convs = {"encoder.1.0": torch.nn.Conv3d(8, 16, 3), "encoder.0.0": torch.nn.Conv3d(1, 8, (1, 3, 3))}
    layout = suggested_layout(convs)
    spec = design(UNetModel("plain", 1, 1, False), shape, Mixed(layout), None)
    assert spec.layout() == layout
    assert spec.build()(torch.zeros(1, 1, 4, 4, 4)).shape == (1, 2, 4, 4, 4)
