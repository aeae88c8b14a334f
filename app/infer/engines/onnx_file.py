"""Writing a trained network as an ONNX file, for any number of windows and sizes the network can halve.

A network whose graph is valid for one size only is refused.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from app.core import run_folder
from app.core.errors import InputError, interrupts_kept
from app.core.files import atomic_path
from app.infer.engines.engine import Engine, Member
from app.infer.engines.parity import check_parity
from app.models.checkpoint import Checkpoint

INPUT, OUTPUT = "image", "logits"
_OPSET = 18  # the first version with group norm as one operator in both runtimes


def cached_onnx(member: Member, make: Callable[[Path], Engine]) -> Path:
    """Return the network's file in its run folder, named by a digest of its weights; write it if missing.

    A new file is checked with the engine that `make` makes from it, and not kept if the check fails.

    Raises:
        InputError: the network cannot be written as ONNX, or the engine's logits differ from torch's.
    """
    path = member.run / run_folder.EXPORT / f"{member.checkpoint.digest[:16]}.onnx"
    if not path.is_file():
        with atomic_path(path) as temporary, _refusing(member):
            _write(temporary, member.checkpoint)
            check_parity(make(temporary), member.checkpoint, longer=True)
    return path


@contextmanager
def _refusing(member: Member) -> Iterator[None]:
    """Convert the many kinds of errors of exporter and runtimes into one InputError."""
    try:
        with interrupts_kept():
            yield
    except OSError:
        raise  # an error of the disk, not of the network
    except Exception as error:
        network = member.checkpoint.network
        kinds = dict.fromkeys(part.describe()["kind"] for part in (network.encoder, network.decoder))
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{member.run}: its network of {' and '.join(kinds)} cannot be an ONNX file ({why}); "
            "use predict.engine=torch or compile, export.format=torch"
        ) from error


def _write(path: Path, checkpoint: Checkpoint) -> None:
    """Write the graph, which maps `image` (B, C, D, H, W) to `logits` (B, L, D, H, W)."""
    sample = torch.zeros(1, len(checkpoint.modalities), *checkpoint.plan.patch)
    free = {0: "windows", 2: "depth", 3: "height", 4: "width"}
    with torch.no_grad(), warnings.catch_warnings():
        # Export by tracing, because the exporter based on torch.export takes ten times as long for the same
        # graph. Tracing warns that it is deprecated, and of sizes that select a branch or become constants;
        # the check with a longer window shows if these are harmful.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            checkpoint.trained_network(),
            (sample,),
            path,
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: free, OUTPUT: free},
        )
