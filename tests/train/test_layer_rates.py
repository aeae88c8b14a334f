from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, PolynomialLR

from app.core.errors import InputError
from app.models.dynunet import DynUNetModel
from app.models.model import Model, Shape
from app.models.network import NetworkSpec, design
from app.models.unet import UNetModel
from app.operators.plain import Conv3d
from app.train.layer_rates import freeze, layers_in_order, parameter_groups, scale_rates

SHAPE = Shape(1, 3, (4, 4, 4, 4), ((1, 1, 1), *((2, 2, 2),) * 3), ((3, 3, 3),) * 4, regions=((1, 2), (2,)))
UNET = UNetModel(block="residual", encoder_blocks=1, decoder_blocks=1, deep_supervision=True)
PATCH = (16, 16, 16)


def spec(model: Model = UNET) -> NetworkSpec:
    return design(model, SHAPE, Conv3d(), None)


def test_layers_stand_in_the_order_in_which_they_compute() -> None:
    layers = [sorted({name.split(".")[0] + name.split(".")[1] for name in names}) for names in names_of(UNET)]
    wanted = [f"encoder{level}" for level in range(4)]
    wanted += [part for level in (2, 1, 0) for part in (f"up{level}", f"decoder{level}")]
    assert layers == [*([one] for one in wanted), ["heads0", "heads1", "heads2"]]


def names_of(model: Model) -> list[list[str]]:
    return layers_in_order(spec(model), PATCH)


def test_every_parameter_has_one_layer_in_networks_of_other_libraries_too() -> None:
    model = DynUNetModel(deep_supervision=True)
    names = [name for layer in names_of(model) for name in layer]
    network = spec(model).model.build(SHAPE, Conv3d(), Conv3d())
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    assert names_of(model)[0][0].startswith("net.input_block")


def test_frozen_parameters_are_left_to_no_optimizer() -> None:
    network = spec().build()
    freeze(network, ["encoder.*", "up.2.weight"])
    groups, factors = parameter_groups(network, spec(), PATCH, None)
    left = {id(values) for values in groups[0]["params"]}
    for name, values in network.named_parameters():
        stays = name.startswith("network.encoder.") or name == "network.up.2.weight"
        assert values.requires_grad is not stays and (id(values) in left) is not stays
    assert factors == [1.0]


@pytest.mark.parametrize("pattern", ["encodr.*", "*"])
def test_patterns_that_freeze_nothing_or_all_are_refused(pattern: str) -> None:
    with pytest.raises(InputError, match=r"train\.freeze") as error:
        freeze(spec().build(), [pattern])
    assert repr(pattern) in str(error.value)


@pytest.mark.parametrize(
    "schedule",
    [
        partial(PolynomialLR, total_iters=10, power=0.9),
        partial(CosineAnnealingLR, T_max=10),
        partial(OneCycleLR, total_steps=11, max_lr=0.5),
    ],
    ids=["poly", "cosine", "onecycle"],
)
def test_rates_fall_towards_the_input_in_every_step(schedule: partial[LRScheduler]) -> None:
    network = spec().build()
    freeze(network, ["encoder.0.*"])
    groups, factors = parameter_groups(network, spec(), PATCH, 0.5)
    assert factors == [0.5**layer for layer in range(10)]  # 11 layers, the first of them frozen
    scaled, usual = (
        torch.optim.AdamW(parts, lr=0.5) for parts in (groups, [{"params": groups[0]["params"]}])
    )
    mine, theirs = schedule(scaled), schedule(usual)
    scale_rates(mine, factors)
    for _ in range(10):
        rate = usual.param_groups[0]["lr"]
        rates = [group["lr"] for group in scaled.param_groups]
        assert rates == pytest.approx([rate * factor for factor in factors])
        for optimizer, one in ((scaled, mine), (usual, theirs)):
            optimizer.step()
            one.step()
