import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from app.core.errors import InputError
from app.layers.norm import InstanceNorm3d, Style
from app.models.model import Model, Shape
from app.models.network import NetworkSpec, design, list_convolutions, network_from, to_device
from app.models.unet import UNetModel
from app.operators import Operator
from app.operators.attention import Attended
from app.operators.cakes import Cakes
from app.operators.p3d import P3d
from app.operators.plain import Conv2d, Conv3d

pytestmark = pytest.mark.e2e

SHAPE = Shape(
    in_channels=2,
    classes=3,
    widths=(4, 8, 12),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
)
UNET = UNetModel(block="plain", encoder_blocks=2, decoder_blocks=2, deep_supervision=True)
MODELS, OPERATORS = (
    sorted(path.stem for path in Path(f"conf/{group}").glob("*.yaml")) for group in ("model", "op")
)
for peer in (
    "dynunet",
    "mednext",
    "segresnet",
):  # their convolutions are their own
    MODELS.remove(peer)


def model_option(option: str) -> Model:
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        cfg = compose("config", [f"model={option}"])
        model = instantiate(cfg.model, _convert_="all")
    assert isinstance(model, Model)
    return model


def operator_option(option: str) -> Operator:
    operator = instantiate(OmegaConf.load(f"conf/op/{option}.yaml"), _convert_="all")
    assert isinstance(operator, Operator)
    return operator


@pytest.mark.parametrize("option", MODELS)
def test_every_model_trains_and_rebuilds_itself(option: str) -> None:
    torch.manual_seed(0)
    spec = design(model_option(option), SHAPE, Conv3d(), None)
    network = to_device(spec.build(), torch.device("cpu"))
    x = torch.randn(2, 2, 6, 8, 12).contiguous(memory_format=torch.channels_last_3d)
    outputs = network(x)
    assert [tuple(level.shape) for level in outputs] == [(2, 3, 6, 8, 12), (2, 3, 6, 4, 6)]
    assert all(level.is_contiguous(memory_format=torch.channels_last_3d) for level in outputs)
    sum(level.square().mean() for level in outputs).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    again = to_device(network_from(spec.describe()).build(), torch.device("cpu"))
    again.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x), again.eval()(x))
    torch.testing.assert_close(network(x), outputs[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("share", "widths"), [(0.5, (8, 8)), (2.0, (16, 32))])
def test_a_decoder_of_other_width_and_a_coarse_stem(share: float, widths: tuple[int, ...]) -> None:
    shape = replace(SHAPE, widths=(8, 16, 24), strides=((2, 2, 2), (1, 2, 2), (2, 2, 2)))
    spec = design(replace(UNET, decoder_width=share), shape, Conv3d(), None)
    network = to_device(spec.build(), torch.device("cpu"))
    x = torch.randn(1, 2, 8, 16, 16)
    assert [tuple(level.shape) for level in network(x)] == [(1, 3, 8, 16, 16), (1, 3, 4, 4, 4)]
    ends = {f"decoder.{level}.1": width for level, width in enumerate(widths)}
    found = {conv.name: conv.out_channels for conv in list_convolutions(spec.model, shape)}
    assert ends.items() <= found.items()
    assert spec.cost((8, 16, 16)).params == sum(p.numel() for p in network.parameters())
    again = to_device(network_from(spec.describe()).build(), torch.device("cpu"))
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), again.eval()(x))


def test_a_narrow_level_is_no_wider_in_the_decoder() -> None:
    shape = replace(SHAPE, widths=(4, 12, 40, 80))
    assert replace(UNET, decoder_width=0.5).decoder_widths(shape) == (4, 8, 16)


def test_a_thin_decoder_has_as_many_channels_as_classes_if_the_encoder_has() -> None:
    thin, shape = replace(UNET, decoder_width=0.5), replace(SHAPE, widths=(16, 32, 72, 144))
    for classes, widths in ((8, (8, 16, 32)), (9, (16, 16, 32)), (33, (16, 32, 40))):
        assert thin.decoder_widths(replace(shape, classes=classes)) == widths
    many = replace(shape, classes=33)
    assert thin.decoder_widths(replace(many, version=2)) == (8, 16, 32), "networks trained before keep theirs"
    assert replace(UNET, decoder_width=2.0).decoder_widths(many) == (32, 64, 144)
    assert UNET.decoder_widths(many) == (16, 32, 72)


@pytest.mark.parametrize("block", ["plain", "residual"])
@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
@pytest.mark.parametrize("norm", ["instance", "group", "batch"])
def test_norm_and_activation_are_those_asked_for(norm: str, activation: str, block: str) -> None:
    torch.manual_seed(0)
    spec = design(replace(UNET, block=block, norm=norm, activation=activation), SHAPE, Conv3d(), None)
    network = to_device(spec.build(), torch.device("cpu"))
    kinds = {type(module) for module in network.modules()}
    norms = {"instance": InstanceNorm3d, "group": nn.GroupNorm, "batch": nn.BatchNorm3d}
    activations = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}
    assert kinds & set(norms.values()) == {norms[norm]}
    assert kinds & {nn.LeakyReLU, *activations.values()} == {activations[activation]}
    x = torch.randn(2, 2, 6, 8, 12)
    outputs = network(x)
    sum(level.square().mean() for level in outputs).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    assert spec.cost((6, 8, 12)).params == sum(p.numel() for p in network.parameters())
    again = to_device(network_from(spec.describe()).build(), torch.device("cpu"))
    again.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x), again.eval()(x))


def test_group_norm_takes_eight_channels_together() -> None:
    """As far as eight divides them: of 8 channels there is one mean, of 12 there are three."""
    torch.manual_seed(0)
    for channels, groups in ((8, 1), (16, 2), (12, 3), (5, 5)):
        norm = Style("group", "relu").normalise(channels)
        x = torch.randn(2, channels, 3, 4, 5)
        apart = x.view(2, groups, -1)
        wanted = (apart - apart.mean(-1, keepdim=True)) / (
            apart.var(-1, keepdim=True, correction=0) + 1e-5
        ).sqrt()
        torch.testing.assert_close(norm(x), wanted.view_as(x), atol=1e-5, rtol=1e-5)


def test_a_description_of_before_there_were_thin_decoders_is_read() -> None:
    description = design(UNET, SHAPE, Conv3d(), None).describe()
    for name in ("decoder_width", "norm", "activation"):
        del description["model"][name]
    assert network_from(description).model == UNET


@pytest.mark.parametrize("gated", [False, True], ids=["plain", "eca"])
@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("model", MODELS)
def test_every_operator_trains_in_every_model(model: str, op: str, gated: bool) -> None:
    """An operator may end with any operation: no gradient needs an output that a norm overwrites.

    Only without gradients do norms overwrite, and the network's output stays the same.
    """
    torch.manual_seed(0)
    operator = Attended(operator_option(op), "eca") if gated else operator_option(op)
    network = design(model_option(model), replace(SHAPE, patch=(6, 8, 12)), operator, None).build()
    image = torch.randn(2, 2, 6, 8, 12).contiguous(memory_format=torch.channels_last_3d)
    outputs = network(image)
    assert [tuple(level.shape) for level in outputs] == [(2, 3, 6, 8, 12), (2, 3, 6, 4, 6)]
    sum(level.square().mean() for level in outputs).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
    network.eval()
    with torch.no_grad():
        found = network(image)
    torch.testing.assert_close(found, network(image).detach(), atol=1e-4, rtol=1e-4)


def test_convolutions_are_named_by_place() -> None:
    convolutions = list_convolutions(UNET, SHAPE)
    assert [conv.name for conv in convolutions] == [
        *("encoder.0.0", "encoder.0.1", "encoder.1.0", "encoder.1.1", "encoder.2.0", "encoder.2.1"),
        *("decoder.0.0", "decoder.0.1", "decoder.1.0", "decoder.1.1"),
    ]
    strided = {conv.name: conv.stride for conv in convolutions if conv.stride != (1, 1, 1)}
    assert strided == {"encoder.1.0": (1, 2, 2), "encoder.2.0": (2, 2, 2)}
    assert {conv.kernel for conv in convolutions if conv.name.split(".")[1] == "0"} == {(1, 3, 3)}


def test_decoder_follows_the_encoder_or_has_its_own() -> None:
    both = design(UNET, SHAPE, Conv2d(), None)
    assert both.encoder == both.decoder == Conv2d()
    own = design(UNET, SHAPE, Cakes("1d", 1, None), P3d())
    assert own.decoder == P3d()
    layout = own.layout()
    assert layout is not None and all(name.startswith("encoder") for name in layout.convolutions)
    full = design(UNET, SHAPE, Cakes("1d", 1, None), None).layout()
    assert full is not None and "decoder.0.0" in full.convolutions
    assert design(UNET, SHAPE, Conv3d(), None).layout() is None


def test_cost_of_the_reference_network() -> None:
    """Figures of four levels from width 16 on a 40x56x40 patch: 1.40 M parameters, 4.81 GMAC."""
    size = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    shape = Shape(1, 3, (16, 32, 64, 128), size, ((3, 3, 3),) * 4)
    cost = design(UNET, shape, Conv3d(), None).cost((40, 56, 40))
    assert (cost.params, cost.macs) == (1_401_481, 4_806_860_800)
    assert cost.params == sum(p.numel() for p in design(UNET, shape, Conv3d(), None).build().parameters())


def test_same_seed_same_weights() -> None:
    def weights(spec: NetworkSpec) -> torch.Tensor:
        torch.manual_seed(3)
        return torch.cat([p.flatten() for p in spec.build().parameters()])

    spec = design(UNET, SHAPE, Cakes("12d", 1, None), None)
    assert torch.equal(weights(spec), weights(spec))


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"block": "dense"}, [r"model\.block", "'dense'", "plain", "residual"]),
        ({"encoder_blocks": 0}, [r"model\.encoder_blocks", r"\b0\b", r"\b1\b"]),
        ({"norm": "layer"}, [r"model\.norm", "'layer'", "instance", "group", "batch"]),
        ({"activation": "mish"}, [r"model\.activation", "'mish'", "leaky", "silu"]),
        ({"decoder_width": 0}, [r"model\.decoder_width", r"\b0\b"]),
    ],
)
def test_impossible_models_are_named(changes: dict[str, Any], tokens: list[str]) -> None:
    with pytest.raises(InputError) as error:
        replace(UNET, **changes)
    for token in tokens:
        assert re.search(token, str(error.value))


def test_a_single_level_is_refused() -> None:
    single = replace(SHAPE, widths=(4,), strides=((1, 1, 1),), kernels=((3, 3, 3),))
    with pytest.raises(InputError, match=r"plan\.max_levels") as error:
        design(UNET, single, Conv3d(), None)
    for levels in (1, 2):  # given, wanted
        assert re.search(rf"\b{levels}\b", str(error.value))


def test_a_description_never_names_code() -> None:
    description = design(UNET, SHAPE, Conv3d(), None).describe()
    description["encoder"] = {"kind": "os.system"}
    with pytest.raises(InputError, match=r"'os\.system'") as error:
        network_from(description)
    for known in ("Conv3d", "P3d"):
        assert known in str(error.value)
    description["encoder"] = {"kind": "Conv3d", "surprise": 1}
    with pytest.raises(InputError, match="surprise"):
        network_from(description)


def test_a_convolution_knows_its_voxels_where_the_patch_is_known() -> None:
    convolutions = list_convolutions(UNET, replace(SHAPE, patch=(6, 8, 12)))
    assert {conv.name: conv.size for conv in convolutions} == {
        **dict.fromkeys(
            ("encoder.0.0", "encoder.0.1", "encoder.1.0", "decoder.0.0", "decoder.0.1"), (6, 8, 12)
        ),
        **dict.fromkeys(("encoder.1.1", "encoder.2.0", "decoder.1.0", "decoder.1.1"), (6, 4, 6)),
        "encoder.2.1": (3, 2, 3),
    }
    assert all(conv.size is None for conv in list_convolutions(UNET, SHAPE))
