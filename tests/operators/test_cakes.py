import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout, write_layout
from app.core.types import Size
from app.layers.cost import Cost, strided
from app.operators import ConvSpec, operator_from
from app.operators.cakes import Cakes, split
from app.operators.mixed import Mixed, MixedConv3d
from app.operators.plain import Conv3d
from app.operators.vocabulary import KERNEL_SETS, vocabulary

CONV = ConvSpec("encoder.0.0", 5, 32, (3, 3, 3), (1, 1, 1))


def embedded(module: MixedConv3d) -> torch.Tensor:
    """All groups in one dense weight (out, in, 3, 3, 3), zero where a sub-kernel has no taps."""
    weights = []
    for group in module.groups:
        weight = group.weight
        pad = [(3 - taps) // 2 for taps in reversed(weight.shape[2:]) for _ in (0, 1)]
        weights.append(F.pad(weight, pad))
    return torch.cat(weights)


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_embedded_in_a_dense_kernel_the_output_is_equal(kernels: str, stride: Size) -> None:
    torch.manual_seed(0)
    conv = ConvSpec("encoder.0.0", 5, 32, (3, 3, 3), stride)
    module = Cakes(kernels, 1, None).bind([conv]).build(conv)
    assert isinstance(module, MixedConv3d)
    x = torch.randn(2, 5, 9, 8, 7)
    dense = F.conv3d(x, embedded(module), stride=stride, padding=1)
    torch.testing.assert_close(module(x), dense, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kernels", "taps"), [("1d", 3), ("2d", 9), ("12d", 6), ("123d", 9)])
def test_costs_of_the_named_sets(kernels: str, taps: int) -> None:
    """Mean taps a channel, of 27: 11.1 %, 33.3 %, 22.2 % and 33.3 %."""
    conv = ConvSpec("encoder.0.0", 5, 42, (3, 3, 3), (1, 1, 1))
    cost = Cakes(kernels, 1, None).bind([conv]).cost(conv, (4, 4, 4))
    assert cost == Cost(5 * 42 * taps, 5 * 42 * taps * 64)
    dense = Conv3d().cost(conv, (4, 4, 4))
    assert cost.params / dense.params == pytest.approx(taps / 27)


def test_equal_split_gives_the_remainder_to_the_first() -> None:
    conv = ConvSpec("a", 1, 16, (3, 3, 3), (1, 1, 1))
    assert list(split(conv, vocabulary("12d", ""), 1, 0).values()) == [6, 2, 2, 2, 2, 2]
    assert split(conv, vocabulary("1d", ""), 1, 5) == {
        Kernel((3, 1, 1)): 6,
        Kernel((1, 3, 1)): 5,
        Kernel((1, 1, 3)): 5,
    }


def test_aligned_split_turns_through_the_kernels() -> None:
    conv = ConvSpec("a", 1, 32, (3, 3, 3), (1, 1, 1))
    chosen = [split(conv, vocabulary("2d", ""), 16, turn) for turn in range(3)]
    assert chosen == [
        {Kernel((1, 3, 3)): 16, Kernel((3, 1, 3)): 16},
        {Kernel((3, 3, 1)): 16, Kernel((1, 3, 3)): 16},
        {Kernel((3, 1, 3)): 16, Kernel((3, 3, 1)): 16},
    ]
    wide = ConvSpec("a", 1, 128, (3, 3, 3), (1, 1, 1))
    assert list(split(wide, vocabulary("12d", ""), 16, 1).values()) == [48, 16, 16, 16, 16, 16]
    assert split(ConvSpec("a", 1, 5, (3, 3, 3), (1, 1, 1)), vocabulary("2d", ""), 16, 1) == {
        Kernel((3, 1, 3)): 5
    }


def test_kernels_are_clipped_where_slices_stay_apart() -> None:
    conv = ConvSpec("a", 1, 12, (1, 3, 3), (1, 1, 1))
    assert split(conv, vocabulary("2d", ""), 1, 0) == {
        Kernel((1, 3, 3)): 4,
        Kernel((1, 1, 3)): 4,
        Kernel((1, 3, 1)): 4,
    }
    assert split(conv, vocabulary("1d", ""), 1, 0) == {
        Kernel((1, 1, 1)): 4,
        Kernel((1, 3, 1)): 4,
        Kernel((1, 1, 3)): 4,
    }


def test_a_layout_file_applies_to_what_it_names(tmp_path: Path) -> None:
    write_layout(
        tmp_path / "layout.yaml", Layout({"encoder.0.0": {Kernel((1, 3, 3)): 20, Kernel((3, 1, 1)): 12}})
    )
    other = ConvSpec("encoder.0.1", 4, 8, (3, 3, 3), (1, 1, 1))
    operator = Cakes(None, 1, str(tmp_path / "layout.yaml")).bind([CONV, other])
    mixed = operator.build(CONV)
    assert isinstance(mixed, MixedConv3d)
    assert [group.weight.shape[0] for group in mixed.groups] == [20, 12]
    assert isinstance(operator.build(other), torch.nn.Conv3d)
    assert operator.cost(other, (4, 4, 4)) == Conv3d().cost(other, (4, 4, 4))
    assert operator_from(operator.describe()) == operator


def test_a_layout_for_another_network_is_refused_with_all_differences() -> None:
    layout = Layout({"encoder.9.0": {Kernel((3, 3, 3)): 8}, "encoder.0.0": {Kernel((3, 3, 3)): 24}})
    with pytest.raises(InputError, match=r"op\.layout") as error:
        Mixed(layout).bind([CONV])
    assert {"encoder.9.0", "encoder.0.0"} <= set(re.findall(r"encoder\.\d\.\d", str(error.value)))
    assert {"24", "32"} <= set(re.findall(r"\d+", str(error.value)))  # channels of the layout, of the network


def test_any_list_of_kernels_in_equal_split() -> None:
    operator = Cakes(["1x5x5", "3x3x3d2"], 1, None).bind([CONV])
    module = operator.build(CONV)
    assert isinstance(module, MixedConv3d)
    assert [tuple(group.weight.shape) for group in module.groups] == [(16, 5, 1, 5, 5), (16, 5, 3, 3, 3)]
    assert module(torch.randn(1, 5, 9, 8, 7)).shape == (1, 32, 9, 8, 7)
    assert operator.cost(CONV, (4, 4, 4)).params == 16 * 5 * 25 + 16 * 5 * 27


def test_unknown_sets_and_alignments_are_named() -> None:
    for operator, tokens in (
        (Cakes("4d", 1, None), ("op.kernels", "4d", *KERNEL_SETS)),
        (Cakes(["1x3x3", "1x3x3"], 1, None), ("op.kernels", "1x3x3")),
        (Cakes("1d", 0, None), ("op.align", "0")),
        (Cakes("1d", 1, "nowhere.yaml"), ("nowhere.yaml",)),
    ):
        with pytest.raises(InputError) as error:
            operator.bind([CONV])
        for token in tokens:
            assert token in str(error.value)


def test_stride_rounds_up() -> None:
    assert strided((7, 8, 9), (2, 2, 1)) == (4, 4, 9)
