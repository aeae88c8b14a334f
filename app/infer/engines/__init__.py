"""The ways to run a network, by the name that `predict.engine` gives them."""

from collections.abc import Callable

import torch

from app.core.errors import InputError
from app.core.optional import absent, require_packages
from app.infer.engines.compiled import compiled_engine
from app.infer.engines.eager import eager_engine
from app.infer.engines.engine import Engine, Member
from app.infer.engines.onnxruntime import onnxruntime_engine
from app.infer.engines.openvino import openvino_engine, openvino_int8_engine
from app.layers.device_policy import choose_precision

_Make = Callable[[Member, torch.device, torch.dtype], Engine]

ENGINES: dict[str, _Make] = {
    "torch": eager_engine,
    "compile": compiled_engine,
    "onnxruntime": onnxruntime_engine,
    "openvino": openvino_engine,
    "openvino_int8": openvino_int8_engine,
}
NEEDS = {  # optional packages that an engine needs
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
    "openvino_int8": ("openvino",),
}


def find_engine(name: str, device: torch.device, precision: str = "auto") -> Callable[[Member], Engine]:
    """Return the function that makes an engine from a network.

    The engine computes in `precision`: fp32, bf16, fp16 or auto.

    Raises:
        InputError: the engine does not exist, is not installed, or does not support the device or precision.
    """
    chosen = choose_precision(precision, device, "predict.precision")
    if name not in ENGINES:
        raise InputError(f"predict.engine: got {name!r}, wanted one of {', '.join(ENGINES)}")
    require_packages(f"predict.engine={name}", *NEEDS.get(name, ()))
    if name in NEEDS and device.type != "cpu":
        raise InputError(f"predict.engine={name} runs on the CPU, got device {device.type}; set device=cpu")
    if name in NEEDS and chosen != torch.float32:
        raise InputError(
            f"predict.precision: got {precision}, predict.engine={name} computes in fp32; leave it auto"
        )
    return lambda member: ENGINES[name](member, device, chosen)


def missing_packages(name: str) -> list[str]:
    """Return the packages that an engine needs but that are not installed."""
    return absent(NEEDS.get(name, ()))
