"""The numbers a network computes with while it trains; its weights are always float32."""

import torch

from app.core.errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """What `train.precision` means on a device; auto is half precision where a GPU is fast at it.

    Raises:
        InputError: no such precision, or one that the device cannot train with.
    """
    if name == "auto":
        return _fastest(device)
    if name not in PRECISIONS:
        raise InputError(f"train.precision: got {name!r}, wanted auto, {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type != "cuda":
        raise InputError("train.precision: got fp16, which only a GPU trains with; wanted auto, fp32 or bf16")
    if name == "bf16" and device.type == "mps":
        raise InputError("train.precision: got bf16, device=mps trains in fp32; wanted auto or fp32")
    return PRECISIONS[name]


def _fastest(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16
