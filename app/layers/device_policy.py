"""Fastest settings per kind of device (memory format, precision, norm), and its free memory.

CUDA uses contiguous volumes and torch's own instance norm, which accepts half precision and accumulates in
float32. Group norm would not stay in half precision under autocast, and would copy channels-last volumes to
contiguous ones and back (pytorch issues 59168 and 191945). A CPU uses channels-last, which halves the time of
a convolution. MPS has no such layout in 3D.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from app.core.errors import InputError
from app.core.machine import memory_bytes

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class DevicePolicy:
    """The settings with which networks run on one kind of device."""

    memory_format: torch.memory_format
    """Memory format of networks and volumes (B, C, D, H, W)."""
    half: bool
    """Whether networks compute in half precision by default."""
    native_norm: bool
    """Whether instance norm is computed by torch's own function."""
    benchmark: bool
    """Whether cuDNN times its kernels for each new input size; there are few sizes."""
    merges: bool
    """Whether to measure if a mixed convolution is faster as one dense convolution."""


_CPU = DevicePolicy(torch.channels_last_3d, half=False, native_norm=False, benchmark=False, merges=False)
_POLICIES = {
    "cuda": DevicePolicy(torch.contiguous_format, half=True, native_norm=True, benchmark=True, merges=True),
    "mps": DevicePolicy(
        torch.contiguous_format, half=False, native_norm=False, benchmark=False, merges=False
    ),
}


def policy_of(device: torch.device) -> DevicePolicy:
    """Return the settings for a device."""
    return _POLICIES.get(device.type, _CPU)


def laid_out(x: Tensor) -> Tensor:
    """Return (B, C, D, H, W) in the memory format of its device."""
    return x.contiguous(memory_format=policy_of(x.device).memory_format)


def choose_precision(name: str, device: torch.device, setting: str = "train.precision") -> torch.dtype:
    """Return the type for a setting of precision on a device.

    auto is bf16 on a CUDA device that has it in hardware, fp16 on other CUDA devices, else fp32.

    Raises:
        InputError: the precision is unknown, or the device does not support it.
    """
    if name == "auto":
        return _fastest(device)
    if name not in PRECISIONS:
        raise InputError(f"{setting}: got {name!r}, wanted auto, {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type != "cuda":
        raise InputError(f"{setting}: got fp16, which needs an NVIDIA GPU; wanted auto, fp32 or bf16")
    if name == "bf16" and device.type == "mps":
        raise InputError(f"{setting}: got bf16, device=mps computes in fp32; wanted auto or fp32")
    return PRECISIONS[name]


def precision_name(precision: torch.dtype) -> str:
    """Return the setting that chooses a precision: fp32, bf16 or fp16."""
    return next(name for name, kind in PRECISIONS.items() if kind == precision)


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Return a context in which a network with float32 weights computes in `precision`."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def free_bytes(device: torch.device) -> int:
    """Return the memory a training may use: a GPU's free memory now, or all memory of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return memory_bytes()


def set_up(device: torch.device) -> None:
    """Set torch's flags for a device; call it once per process."""
    torch.backends.cudnn.benchmark = policy_of(device).benchmark
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _fastest(device: torch.device) -> torch.dtype:
    if not policy_of(device).half:
        return torch.float32
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16
