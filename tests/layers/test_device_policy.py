"""What follows from the kind of a device, which need not be there."""

from types import SimpleNamespace

import pytest
import torch

from app.core.errors import InputError
from app.layers import device_policy
from app.layers.device_policy import autocast, choose_precision, free_bytes, laid_out, policy_of, set_up
from app.layers.norm import native_norm, normalise
from app.layers.out_of_memory import is_out_of_memory

CPU, GPU, MPS = torch.device("cpu"), torch.device("cuda:1"), torch.device("mps")


def test_each_kind_of_device_has_a_policy() -> None:
    assert policy_of(CPU).memory_format == torch.channels_last_3d
    assert policy_of(GPU).memory_format == policy_of(MPS).memory_format == torch.contiguous_format
    assert [policy_of(GPU).native_norm, policy_of(GPU).benchmark, policy_of(GPU).merges] == [True] * 3
    assert not (policy_of(CPU).native_norm or policy_of(CPU).benchmark or policy_of(CPU).merges)
    x = torch.randn(2, 4, 3, 3, 3)
    assert laid_out(x).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(("native", "fastest"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_is_the_half_precision_that_a_gpu_is_fast_at(
    native: bool, fastest: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert choose_precision("auto", GPU) == fastest
    assert choose_precision("auto", CPU) == choose_precision("auto", MPS) == torch.float32
    assert choose_precision("fp32", GPU) == torch.float32


def test_precisions_are_chosen_or_refused_by_device() -> None:
    assert choose_precision("bf16", CPU) == torch.bfloat16
    assert choose_precision("fp16", GPU) == torch.float16
    for name, device, tokens in (
        ("fp16", CPU, ("fp16", "auto", "fp32", "bf16")),
        ("bf16", MPS, ("bf16", "auto", "fp32")),
        ("half", CPU, ("'half'", "auto", "fp32", "bf16", "fp16")),
    ):
        with pytest.raises(InputError, match=r"predict\.precision") as error:
            choose_precision(name, device, "predict.precision")
        for token in tokens:
            assert token in str(error.value)


def test_autocast_is_on_for_half_precision_alone() -> None:
    layer, x = torch.nn.Conv3d(1, 1, 1), torch.randn(1, 1, 2, 2, 2)
    with autocast(CPU, torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with autocast(CPU, torch.float32):
        assert layer(x).dtype == torch.float32


def test_a_gpu_offers_what_is_free_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7 if device == GPU else 0, 80))
    monkeypatch.setattr(device_policy, "memory_bytes", lambda: 5)
    assert (free_bytes(GPU), free_bytes(CPU)) == (7, 5)


def test_cudnn_tries_its_kernels_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace(benchmark=None))
    used: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    set_up(GPU)
    assert torch.backends.cudnn.benchmark is True and used == [GPU]
    set_up(CPU)
    assert torch.backends.cudnn.benchmark is False and used == [GPU]


@pytest.mark.parametrize("size", [(4, 3, 5), (1, 1, 1)])
def test_the_native_norm_is_ours(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 6, *size), torch.randn(6), torch.randn(6)
    for shift in (bias, None):
        wanted = normalise(x, weight, shift)
        torch.testing.assert_close(native_norm(x, weight, shift, 1e-5), wanted, atol=1e-4, rtol=1e-4)


def test_errors_of_memory_are_told_from_others() -> None:
    of_host = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ...")
    for error in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), of_host):
        assert is_out_of_memory(error)
    for other in (RuntimeError("shapes do not fit"), ValueError("not enough memory")):
        assert not is_out_of_memory(other)
