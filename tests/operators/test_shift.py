"""Shifts: what they move, what they cost, their gradients, and the samples they keep apart."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from app.core.errors import InputError
from app.core.types import Size
from app.layers.norm import Style
from app.layers.shifts import AddressShift, ChannelShuffle, address_shift, directions, zero_shift
from app.operators import ConvSpec
from app.operators.shift import Shift, ShiftConv3d, half_a_group

SIX = directions((3, 3, 3))
CONV = ConvSpec("encoder.0.1", 16, 16, (3, 3, 3), (1, 1, 1))


def one_hot(offset: Size) -> torch.Tensor:
    kernel = torch.zeros(1, 1, 3, 3, 3)
    kernel[0, 0, *(1 + step for step in offset)] = 1
    return kernel


@pytest.mark.parametrize("mode", ["zero", "address"])
def test_no_weights_and_no_multiply_adds(mode: str) -> None:
    module = AddressShift(12, SIX, mode, turn=3)
    with FlopCounterMode(display=False) as counter:
        module(torch.rand(1, 12, 3, 4, 5))
    assert not list(module.parameters()) and counter.get_total_flops() == 0


@pytest.mark.parametrize("offset", SIX)
def test_zero_mode_is_a_depthwise_one_hot_kernel(offset: Size) -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    expected = F.conv3d(x, one_hot(offset).expand(3, 1, 3, 3, 3), padding=1, groups=3)
    assert torch.equal(zero_shift(x, [offset]), expected)


@pytest.mark.parametrize("offset", SIX)
def test_address_mode_is_a_roll_of_the_flat_sample(offset: Size) -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    step = offset[0] * 30 + offset[1] * 6 + offset[2]
    rolled = x.flatten(1).roll(-step, dims=1)
    vacated = slice(-step, None) if step > 0 else slice(0, -step)
    rolled[:, vacated] = 0
    shifted = address_shift(x, [offset])
    assert torch.equal(shifted.flatten(1), rolled)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1), slice(1, -1))
    assert torch.equal(shifted[inside], zero_shift(x, [offset])[inside])


def test_the_modes_differ_on_one_plane_of_the_shifted_axis() -> None:
    x = 1 + torch.rand(1, 6, 4, 5, 8)
    differ = (zero_shift(x, SIX) != address_shift(x, SIX)).float().mean((0, 2, 3, 4))
    torch.testing.assert_close(differ[1:5], torch.tensor([1 / 8, 1 / 5, 1 / 5, 1 / 4]))


@pytest.mark.parametrize("shift", [zero_shift, address_shift])
def test_samples_are_never_mixed(shift: type(zero_shift)) -> None:  # type: ignore[valid-type]
    x = torch.stack([torch.zeros(8, 3, 4, 5), torch.ones(8, 3, 4, 5)])
    shifted = shift(x, SIX)
    assert shifted[0].abs().sum() == 0 and shifted[1].sum() > 0


def channel_shift(channels: int, groups: int) -> AddressShift:
    return AddressShift(channels, [], "zero", half_a_group(channels, groups, least=1))


def test_channel_shift_rotates_half_a_group() -> None:
    x = torch.arange(16.0).reshape(1, 16, 1, 1, 1)
    module = channel_shift(16, 4)
    assert module(x).flatten().tolist() == [*range(2, 16), 0, 1]
    assert torch.equal(module(x).roll(2, dims=1), x)


def test_groups_of_one_channel_rotate_by_one() -> None:
    """Half a channel, rounded down, would leave every group where it is."""
    assert half_a_group(8, 8, least=1) == 1 and half_a_group(8, 8, least=0) == 0
    conv = ConvSpec("encoder.0.1", 8, 8, (3, 3, 3), (1, 1, 1))
    turns = [
        module.turn
        for spec in (conv, replace(conv, style=None))
        for module in Shift("zero", 8, 1, 0.0).build(spec).modules()
        if isinstance(module, AddressShift)
    ]
    assert turns == [1, 0]  # networks of version 1 keep what they computed


@pytest.mark.parametrize("mode", ["zero", "address"])
@pytest.mark.parametrize("turn", [1, 3, 7])
def test_both_shifts_at_once_are_one_after_the_other(mode: str, turn: int) -> None:
    x = torch.randn(2, 14, 3, 4, 5)
    apart = AddressShift(14, SIX, mode)(x.roll(-turn, dims=1))
    assert torch.equal(AddressShift(14, SIX, mode, turn)(x), apart)


@pytest.mark.parametrize("groups", [4, 2])
def test_a_module_shifts_channels_and_nothing_stands_between_shift_and_mix(groups: int) -> None:
    """Channel c of the last 1x1x1 reads expanded channel c + half a group, moved by a voxel, and no more."""
    module = Shift("zero", groups, 2, 0.5).build(CONV)
    assert isinstance(module, ShiftConv3d)
    seen: dict[str, torch.Tensor] = {}
    mixes = [part for part in module.branch if isinstance(part, torch.nn.Conv3d)]
    norm = module.branch[1]
    norm.register_forward_hook(lambda _m, _x, y: seen.update(normed=y.clone()))
    mixes[1].register_forward_pre_hook(lambda _m, x: seen.update(mixed=x[0]))
    module(torch.randn(1, 16, 4, 5, 6))
    bent = torch.nn.functional.leaky_relu(seen["normed"], 0.01)
    turned = bent.roll(-(32 // (2 * groups)), dims=1)
    assert torch.equal(seen["mixed"], zero_shift(turned, SIX)) and (seen["mixed"] < 0).any()


@pytest.mark.parametrize("channels", [2, 6, 7])
def test_a_shuffle_interleaves_halves(channels: int) -> None:
    x = torch.arange(float(channels)).reshape(1, channels, 1, 1, 1)
    wanted = {2: [0, 1], 6: [0, 3, 1, 4, 2, 5], 7: [0, 4, 1, 5, 2, 6, 3]}
    module = ChannelShuffle(channels)
    assert module(x).flatten().tolist() == wanted[channels]
    assert module.connections()[0].links.argmax(axis=1).tolist() == wanted[channels]


@pytest.mark.parametrize(("shifted", "reach"), [(True, [8, 16, 24, 32]), (False, [8, 8, 8, 8])])
def test_stacked_groups_reach_further(shifted: bool, reach: list[int]) -> None:
    """32 channels in 4 groups: a quarter more each time with the channel shift, never more without."""
    x = torch.rand(1, 32, 1, 1, 1, requires_grad=True)
    y = x
    for depth in range(4):
        y = F.conv3d(y, torch.ones(32, 8, 1, 1, 1), groups=4)
        (gradient,) = torch.autograd.grad(y[0, 0].sum(), x, retain_graph=True)
        assert gradient.count_nonzero() == reach[depth]
        y = channel_shift(32, 4)(y) if shifted else y


def test_the_gradient_is_the_opposite_shift() -> None:
    x = torch.randn(1, 7, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    for shift in (zero_shift, address_shift):
        assert torch.autograd.gradcheck(lambda v, shift=shift: shift(v, SIX), (x,))
        for offset in SIX:
            y = torch.randn(1, 7, 3, 3, 4, dtype=torch.float64)
            (gradient,) = torch.autograd.grad(shift(x, [offset]), x, y)
            assert torch.equal(gradient, shift(y, [tuple(-step for step in offset)]))


def test_the_shortcut_is_the_input_unchanged() -> None:
    module = Shift("zero", 4, 2, 0.5).build(CONV)
    x = torch.randn(2, 16, 3, 4, 5)
    assert torch.equal(module(x)[:, :8], F.leaky_relu(x[:, :8], 0.01))
    earlier = Shift("zero", 4, 2, 0.5).build(replace(CONV, style=None))
    assert torch.equal(earlier(x)[:, :8], x[:, :8].relu())
    smooth = Shift("zero", 4, 2, 0.5).build(replace(CONV, style=Style("group", "gelu")))
    torch.testing.assert_close(smooth(x)[:, :8], F.gelu(x[:, :8]))
    assert isinstance(module, ShiftConv3d) and module(x).shape[1] == 16


@pytest.mark.parametrize("shape", [(2, 5, 9), (1, 6, 3), (7, 1, 1)])
def test_unequal_sizes(shape: Size) -> None:
    x = torch.randn(1, 14, *shape)
    for shift in (zero_shift, address_shift):
        assert shift(x, SIX).shape == x.shape
        assert torch.equal(shift(x, SIX)[:, 12:], x[:, 12:])


def test_a_constant_volume_stays_constant_inside() -> None:
    x = torch.full((1, 6, 4, 4, 4), 3.0)
    for shift in (zero_shift, address_shift):
        assert (shift(x, SIX)[:, :, 1:-1, 1:-1, 1:-1] == 3).all()


def test_shifts_keep_the_channels_last_layout() -> None:
    x = torch.randn(2, 12, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    for mode in ("zero", "address"):
        module = AddressShift(12, SIX, mode, turn=3)
        assert module(x).is_contiguous(memory_format=torch.channels_last_3d)


def test_impossible_settings_are_named() -> None:
    for values, tokens in [
        (("left", 4, 2, 0.5), ("op.mode", "left", "zero", "address")),
        (("zero", 0, 2, 0.5), ("op.groups", "0")),
        (("zero", 4, 2, 1.0), ("op.shortcut", "1.0")),
    ]:
        with pytest.raises(InputError) as error:
            Shift(*values)  # type: ignore[arg-type]
        for token in tokens:
            assert token in str(error.value)
