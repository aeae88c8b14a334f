"""Convolutions that take another way to oneDNN give what torch's own way gives."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

from app.core.types import Size, as_size
from app.layers.convolution import FastConv3d, Upsample3d, conv3d


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread, where it would not call oneDNN for kernels without taps in height and width."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kernel", [(1, 1, 1), (3, 1, 1), (5, 1, 1)], ids=str)
@pytest.mark.parametrize("dilation", [1, 2])
def test_kernels_along_depth_are_the_convolutions_they_say(kernel: Size, dilation: int, groups: int) -> None:
    torch.manual_seed(0)
    padding = (kernel[0] // 2 * dilation, 0, 0)
    module = FastConv3d(4, 8, kernel, 1, padding, dilation=(dilation, 1, 1), groups=groups)
    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x = torch.randn(2, 4, 9, 5, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    y, wanted = module(x), nn.Conv3d.forward(module, x)
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    parts = (x, module.weight, module.bias)
    found = torch.autograd.grad(y.square().sum(), parts)
    torch.testing.assert_close(found, torch.autograd.grad(wanted.square().sum(), parts), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("dilation", [(1, 1, 1), (2, 1, 2)], ids=str)
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 3), (5, 3, 1), (3, 1, 1), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("filters", [1, 3])
def test_gradients_of_depthwise_kernels_are_torchs(
    kernel: Size, dilation: Size, same: bool, filters: int
) -> None:
    torch.manual_seed(0)
    padding = [taps // 2 * step if same else 0 for taps, step in zip(kernel, dilation, strict=True)]
    module = FastConv3d(6, 6 * filters, kernel, 1, padding, dilation=dilation, groups=6, bias=False)
    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x = torch.randn(2, 6, 9, 7, 8).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    y, wanted = module(x), nn.Conv3d.forward(module, x)
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    parts = (x, module.weight)
    found = torch.autograd.grad(y.square().sum(), parts)
    torch.testing.assert_close(found, torch.autograd.grad(wanted.square().sum(), parts), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("layout", [torch.channels_last_3d, torch.contiguous_format], ids=str)
@pytest.mark.parametrize(("batch", "groups"), [(2, 3), (1, 3), (1, 1)])
def test_second_derivatives_are_torchs(batch: int, groups: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 3 // groups, 3, 3, 3, requires_grad=True)
    along = torch.randn_like(weight)
    x = torch.randn(batch, 3, 4, 5, 4).contiguous(memory_format=layout).requires_grad_()

    def second(convolve: Callable[..., torch.Tensor]) -> tuple[torch.Tensor, ...]:
        y = convolve(x, weight, padding=(1, 1, 1), groups=groups)
        gradients = torch.autograd.grad(y.pow(3).sum(), (x, weight), create_graph=True)
        product = (gradients[0] * x.detach()).sum() + (gradients[1] * along).sum()
        return torch.autograd.grad(product, (x, weight))

    torch.testing.assert_close(second(conv3d), second(F.conv3d), atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("groups", [1, 4])
def test_no_sample_at_all_is_no_error(groups: int) -> None:
    module, x = FastConv3d(4, 4, 3, padding=1, groups=groups, bias=False), torch.randn(0, 4, 3, 3, 3)
    module(x.requires_grad_()).sum().backward()
    with torch.inference_mode():
        assert module(x).shape == x.shape
        assert Upsample3d(4, 3, (2, 1, 2))(x).shape == (0, 3, 6, 3, 6)
    assert module.weight.grad is not None and module.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("depth", [1, 2, 5, 8])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 1)], ids=str)
@pytest.mark.parametrize(
    ("kernel", "dilation"),
    [((3, 3, 3), 1), ((3, 3, 3), 2), ((1, 3, 1), 1), ((5, 1, 1), 1), ((1, 1, 1), 1), ((4, 2, 2), 1)],
    ids=str,
)
def test_gradients_of_a_single_volume_are_torchs(
    kernel: Size, dilation: int, stride: Size, depth: int, threads: int
) -> None:
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    padding = as_size([max(1, taps // 2) * dilation if taps > 1 else 0 for taps in kernel])
    module = FastConv3d(5, 6, kernel, stride, padding, dilation=dilation, bias=False)
    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x = torch.randn(1, 5, depth, 7, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        y = module(x)
        found = torch.autograd.grad(y.square().sum(), (x, module.weight))
    torch.set_num_threads(before)
    assert not [event.key for event in seen.key_averages() if "slow" in event.key]
    weight, wide = (part.detach().double().requires_grad_() for part in (module.weight, x))
    wanted = F.conv3d(wide, weight, None, stride, padding, dilation)
    torch.testing.assert_close(y.double(), wanted, atol=1e-5, rtol=1e-5)
    exact = torch.autograd.grad(wanted.square().sum(), (wide, weight))
    torch.testing.assert_close([part.double() for part in found], list(exact), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("wanted", ["input", "weight"])
def test_a_single_volume_has_the_gradient_that_is_wanted(wanted: str) -> None:
    module, x = FastConv3d(3, 4, 3, padding=1, bias=False), torch.randn(1, 3, 4, 5, 6)
    module.weight.requires_grad_(wanted == "weight")
    x.requires_grad_(wanted == "input")
    of = x if wanted == "input" else module.weight
    (found,) = torch.autograd.grad(module(x).square().sum(), of)
    (expected,) = torch.autograd.grad(nn.Conv3d.forward(module, x).square().sum(), of)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_upsampling_a_single_volume_trains_as_the_transposed_convolution() -> None:
    torch.manual_seed(0)
    module = Upsample3d(4, 3, (1, 2, 2)).to(memory_format=torch.channels_last_3d)
    x = torch.randn(1, 4, 3, 5, 4).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    y, wanted = module(x), nn.ConvTranspose3d.forward(module, x)
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    parts = (x, module.weight)
    found = torch.autograd.grad(y.square().sum(), parts)
    torch.testing.assert_close(found, torch.autograd.grad(wanted.square().sum(), parts), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kernel", [(1, 1, 1), (3, 1, 1)], ids=str)
def test_one_thread_takes_the_fast_way_too(kernel: Size) -> None:
    module = FastConv3d(4, 4, kernel, 1, (kernel[0] // 2, 0, 0))
    x = torch.randn(2, 4, 9, 5, 6, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        module(x)
    names = {event.key for event in seen.key_averages()}
    assert "aten::mkldnn_convolution" in names and "aten::slow_conv3d" not in names


@pytest.mark.parametrize(("batch", "stride", "groups"), [(1, 1, 1), (1, 2, 1), (2, 1, 4)])
def test_without_gradients_the_values_are_torchs(batch: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    module = FastConv3d(4, 8, (3, 1, 3), stride, (1, 0, 1), groups=groups)
    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x = torch.randn(batch, 4, 7, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        y = module(x)
    torch.testing.assert_close(y, nn.Conv3d.forward(module, x).detach(), atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2)])
def test_upsampling_without_gradients_is_the_transposed_convolution(stride: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    module = Upsample3d(4, 3, stride).to(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 4, 3, 5, 4).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        y = module(x)
    torch.testing.assert_close(y, nn.ConvTranspose3d.forward(module, x).detach(), atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("filters", [16, 24, 40])
def test_of_one_channel_taps_along_width_with_a_stride_are_the_convolution_they_say(filters: int) -> None:
    """OneDNN wrote beyond its memory here: the process ended, some steps later."""
    torch.manual_seed(0)
    module = FastConv3d(1, filters, (1, 1, 3), (2, 2, 2), (0, 0, 1), bias=False)
    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    weight = module.weight.detach().double().requires_grad_()
    x = torch.randn(2, 1, 24, 31, 24).contiguous(memory_format=torch.channels_last_3d)
    for _ in range(10):
        module.zero_grad()
        y, wanted = module(x), F.conv3d(x.double(), weight, None, (2, 2, 2), (0, 0, 1))
        torch.testing.assert_close(y.double(), wanted, atol=1e-5, rtol=1e-5)
        y.square().sum().backward()
        (found,) = torch.autograd.grad(wanted.square().sum(), weight)
        torch.testing.assert_close(module.weight.grad.double(), found, atol=1e-2, rtol=1e-4)  # type: ignore[union-attr]
