"""The engines by OpenVINO, on the CPU, in float32 or in 8 bits.

A graph of fixed size runs fastest, so one is compiled per size of window and cached next to the file.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.core.types import Size, as_size
from app.infer.engines.engine import Engine, Member
from app.infer.engines.int8_file import accepted_int8
from app.infer.engines.onnx_file import cached_onnx


class OpenVinoEngine:
    """An engine that runs an ONNX file or a file of OpenVINO's own format, with as many threads as torch."""

    def __init__(self, path: Path) -> None:
        import openvino

        self._path = path
        self._core: Any = openvino.Core()
        self._core.set_property({"CACHE_DIR": str(path.parent / "openvino")})
        self._compiled: dict[Size, Any] = {}

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the logits (B, L, D, H, W) of windows (B, C, D, H, W), which run one after the other."""
        run = self._for_size(windows.shape[1], as_size(windows.shape[2:]))
        logits = [np.array(run(window[None].contiguous().numpy())[0]) for window in windows]
        return torch.from_numpy(np.concatenate(logits))

    def _for_size(self, channels: int, size: Size) -> Any:
        if size not in self._compiled:
            graph = self._core.read_model(self._path)
            graph.reshape([1, channels, *size])
            options = {
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "INFERENCE_PRECISION_HINT": "f32",  # prevents half precision; 8-bit graphs stay in 8 bits
            }
            self._compiled[size] = self._core.compile_model(graph, "CPU", options)
        return self._compiled[size]


def openvino_engine(member: Member, device: torch.device, precision: torch.dtype) -> Engine:
    """Return an engine that runs the network's ONNX file in the run folder, in float32."""
    return OpenVinoEngine(cached_onnx(member, OpenVinoEngine))


def openvino_int8_engine(member: Member, device: torch.device, precision: torch.dtype) -> Engine:
    """Return an engine that runs the 8-bit network that `mode=export export.format=int8` wrote.

    Raises:
        InputError: there is no 8-bit network for these weights, or it loses too much Dice.
    """
    return OpenVinoEngine(accepted_int8(member))
