"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.infer.engines.engine import Engine, Member
from app.infer.engines.onnx_file import INPUT, OUTPUT, cached_onnx


class OnnxRuntimeEngine:
    """An ONNX file of `app.infer.engines.onnx_file`, with as many threads as torch has."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # fatal ones; errors are raised, the rest is for its developers
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, windows: Tensor) -> Tensor:
        """(B, C, D, H, W) -> logits (B, L, D, H, W)."""
        (logits,) = self._session.run([OUTPUT], {INPUT: windows.contiguous().numpy()})
        return torch.from_numpy(logits)


def onnxruntime_engine(member: Member, device: torch.device, precision: torch.dtype) -> Engine:
    """From the network's file in the run folder."""
    return OnnxRuntimeEngine(cached_onnx(member, OnnxRuntimeEngine))
