from dataclasses import replace

import pytest
import torch
from torch import nn

from app.models.checkpoint import Checkpoint
from app.models.model import Shape
from app.models.network import NetworkSpec, design
from app.models.transfer import Transfer, transfer
from app.models.unet import UNetModel
from app.operators import Operator
from app.operators.cakes import Cakes
from app.operators.dwsep import DepthwiseSeparable
from app.operators.plain import Conv3d
from tests.support.config import CUBES

SHAPE = Shape(2, 3, (4, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3), (3, 3, 3)))
MODEL = UNetModel(block="plain", encoder_blocks=1, decoder_blocks=1, deep_supervision=True)
FIRST = "encoder.0.0.0.weight"
LABELS = ("background", "liver", "spleen")


def spec(operator: Operator | None = None, **changes: object) -> NetworkSpec:
    return design(MODEL, replace(SHAPE, **changes), operator or Conv3d(), None)  # type: ignore[arg-type]


def origin(
    own: NetworkSpec, modalities: tuple[str, ...] = ("CT", "PET"), labels: tuple[str, ...] = LABELS
) -> Checkpoint:
    torch.manual_seed(1)
    return Checkpoint(own, CUBES, modalities, labels, own.build().state_dict(), None, {})


def moved(
    own: NetworkSpec,
    source: Checkpoint,
    modalities: tuple[str, ...] = ("CT", "PET"),
    labels: tuple[str, ...] = LABELS,
) -> tuple[nn.Module, Transfer]:
    torch.manual_seed(2)
    network = own.build()
    return network, transfer(network, own, source, modalities=modalities, labels=labels)


def test_the_same_network_is_taken_whole() -> None:
    source = origin(spec())
    network, found = moved(spec(), source)
    assert (found.fresh, found.channels) == ({}, ())
    assert set(found.taken) == set(source.weights)
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values, source.weights[name], rtol=0, atol=0)


def test_operators_whose_tensors_depend_on_the_number_of_channels_take_what_fits() -> None:
    own = spec(DepthwiseSeparable(1), in_channels=5)
    five = ("a", "b", "c", "d", "e")
    _, found = moved(own, origin(spec(DepthwiseSeparable(1), in_channels=4), five[:4]), five)
    assert set(found.taken) | set(found.fresh) == set(own.build().state_dict())
    assert found.channels == ("encoder.0.0.0.weight",) and not found.fresh


def test_other_labels_have_a_new_output_layer_also_if_there_are_as_many() -> None:
    source = origin(spec())
    for own, labels in ((spec(), ("background", "a", "b")), (spec(classes=5), LABELS)):
        network, found = moved(own, source, labels=labels)
        assert set(found.fresh) == {"heads.0.weight", "heads.0.bias"}
        assert not torch.equal(network.state_dict()["heads.0.bias"], source.weights["heads.0.bias"])
        torch.testing.assert_close(network.state_dict()[FIRST], source.weights[FIRST])


def test_a_network_of_regions_takes_all_but_the_output_layer_of_one_of_labels_and_back() -> None:
    regions = spec(classes=2, regions=((1, 2), (2,)))
    for own, source in ((regions, origin(spec())), (spec(), origin(regions))):
        _, found = moved(own, source)
        assert set(found.fresh) == {"heads.0.weight", "heads.0.bias"} and FIRST in found.taken


@pytest.mark.parametrize(
    ("modalities", "parts"),
    [
        (("PET", "CT"), ([0, 1], [1, 0])),
        (("PET",), ([0, 2],)),
        (("MR", "CT"), ([0.5, 0.5], [1, 0])),
        (("CT", "MR", "T2"), ([2 / 3, 0], [1 / 3, 1 / 3], [1 / 3, 1 / 3])),
    ],
)
def test_a_channel_takes_the_weights_of_its_name_or_the_mean(
    modalities: tuple[str, ...], parts: tuple[list[float], ...]
) -> None:
    """Each of `parts` has the shares of the weights on CT and PET; their sum over channels stays."""
    source = origin(spec())
    network, found = moved(spec(in_channels=len(modalities)), source, modalities)
    assert found.channels == (FIRST,) and not found.fresh
    ct, pet = source.weights[FIRST].unbind(1)
    wanted = torch.stack([share[0] * ct + share[1] * pet for share in parts], 1)
    torch.testing.assert_close(network.state_dict()[FIRST], wanted)


def test_tensors_of_another_shape_stay_fresh_and_are_named() -> None:
    source = origin(
        spec(widths=(4, 8, 16), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernels=((3, 3, 3),) * 3)
    )
    network, found = moved(spec(widths=(4, 10)), source)
    assert FIRST in found.taken and "encoder.1.0.0.weight" in found.fresh
    assert "[8, 4, 3, 3, 3]" in found.fresh["encoder.1.0.0.weight"]
    assert set(found.taken) | set(found.fresh) == set(network.state_dict())


def test_norms_alone_are_not_taken() -> None:
    """Other kernels and other operators: only scales and shifts of norms have the same shapes."""
    torch.manual_seed(2)
    own = spec(Cakes("12d", 4, None), classes=4)
    untouched = own.build().state_dict()
    network, found = moved(own, origin(spec(kernels=((1, 3, 3),) * 2, strides=((1, 1, 1), (1, 2, 2)))))
    assert not found.taken
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values, untouched[name], rtol=0, atol=0)
