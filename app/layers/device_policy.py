"""What a device computes fastest with, and how much memory it has free: the one place that decides it.

CUDA has contiguous volumes and torch's own instance norm, which takes half precision and counts in float32:
group norm leaves half precision under autocast, and copies channels-last volumes to contiguous and back
(pytorch issues 59168 and 191945). A CPU has channels-last, which halves the time of a convolution. MPS has no
such layout in 3D.
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
    """How networks run on one kind of device."""

    memory_format: torch.memory_format
    """Memory layout of networks and volumes (B, C, D, H, W)."""
    half: bool
    """Whether networks compute in half precision unless something else is set."""
    native_norm: bool
    """Whether instance norm is torch's own."""
    benchmark: bool
    """Whether cuDNN tries its kernels for each size it meets: sizes are few."""
    merges: bool
    """Whether mixed convolutions may be faster as one dense call, which is then measured."""


_CPU = DevicePolicy(torch.channels_last_3d, half=False, native_norm=False, benchmark=False, merges=False)
_POLICIES = {
    "cuda": DevicePolicy(torch.contiguous_format, half=True, native_norm=True, benchmark=True, merges=True),
    "mps": DevicePolicy(
        torch.contiguous_format, half=False, native_norm=False, benchmark=False, merges=False
    ),
}


def policy_of(device: torch.device) -> DevicePolicy:
    """Return how networks run on a device."""
    return _POLICIES.get(device.type, _CPU)


def laid_out(x: Tensor) -> Tensor:
    """Return (B, C, D, H, W) in the layout of its device."""
    return x.contiguous(memory_format=policy_of(x.device).memory_format)


def choose_precision(name: str, device: torch.device, setting: str = "train.precision") -> torch.dtype:
    """What a setting of precision means on a device; auto is half precision where a GPU is fast at it.

    Raises:
        InputError: no such precision, or one that the device does not compute with.
    """
    if name == "auto":
        return _fastest(device)
    if name not in PRECISIONS:
        raise InputError(f"{setting}: got {name!r}, wanted auto, {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type != "cuda":
        raise InputError(
            f"{setting}: got fp16, which only an NVIDIA GPU computes with; wanted auto, fp32 or bf16"
        )
    if name == "bf16" and device.type == "mps":
        raise InputError(f"{setting}: got bf16, device=mps computes in fp32; wanted auto or fp32")
    return PRECISIONS[name]


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Under it a network whose weights are float32 computes in `precision`."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def free_bytes(device: torch.device) -> int:
    """Memory that a training may count on: what a GPU has free now, or all that a CPU's machine has."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return memory_bytes()


def set_up(device: torch.device) -> None:
    """Set torch's flags for a device, once in a process."""
    torch.backends.cudnn.benchmark = policy_of(device).benchmark
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _fastest(device: torch.device) -> torch.dtype:
    if not policy_of(device).half:
        return torch.float32
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16
