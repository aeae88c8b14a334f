"""The engine by ONNX Runtime, on the CPU."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.infer.engines.engine import Engine, Member
from app.infer.engines.onnx_file import INPUT, OUTPUT, cached_onnx


class OnnxRuntimeEngine:
    """An engine that runs an ONNX file with as many threads as torch."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # fatal messages only; errors are raised anyway
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the logits (B, L, D, H, W) of windows (B, C, D, H, W)."""
        (logits,) = self._session.run([OUTPUT], {INPUT: windows.contiguous().numpy()})
        return torch.from_numpy(logits)


def onnxruntime_engine(member: Member, device: torch.device, precision: torch.dtype) -> Engine:
    """Return an engine that runs the network's ONNX file in the run folder."""
    return OnnxRuntimeEngine(cached_onnx(member, OnnxRuntimeEngine))
