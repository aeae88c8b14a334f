"""A trained network as an ONNX file: any number of windows of any size it can halve often enough.

A network whose graph holds for one size alone is refused.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import atomic_path
from app.infer.engines.engine import Engine, Member
from app.infer.engines.parity import check_parity
from app.models.checkpoint import Checkpoint

INPUT, OUTPUT = "image", "logits"
_OPSET = 18  # the first with group norm's parts as one operator in both runtimes


def cached_onnx(member: Member, make: Callable[[Path], Engine]) -> Path:
    """The network's file in its run folder, named by its weights; written when it is not there yet.

    Raises:
        InputError: an operator cannot be written, or what `make` makes of a new file does not agree with
            torch; the file is not kept.
    """
    path = member.run / run_folder.EXPORT / f"{member.checkpoint.digest[:16]}.onnx"
    if not path.is_file():
        with atomic_path(path) as temporary, _refusing(member):
            _write(temporary, member.checkpoint)
            check_parity(make(temporary), member.checkpoint, longer=True)
    return path


@contextmanager
def _refusing(member: Member) -> Iterator[None]:
    """Tell in one line that a network cannot be an ONNX file; exporter and runtimes raise what they like."""
    try:
        yield
    except OSError:
        raise  # of the disk, not of the network
    except Exception as error:
        network = member.checkpoint.network
        kinds = dict.fromkeys(part.describe()["kind"] for part in (network.encoder, network.decoder))
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{member.run}: its network of {' and '.join(kinds)} cannot be an ONNX file ({why}); "
            "use predict.engine=torch or compile, export.format=torch"
        ) from error


def _write(path: Path, checkpoint: Checkpoint) -> None:
    """The graph maps `image` (B, C, D, H, W) to `logits` (B, L, D, H, W)."""
    sample = torch.zeros(1, len(checkpoint.modalities), *checkpoint.plan.patch)
    free = {0: "windows", 2: "depth", 3: "height", 4: "width"}
    with torch.no_grad(), warnings.catch_warnings():
        # By tracing: the exporter by torch.export takes ten times as long for the same graph. It warns of its
        # age, and of sizes that choose a branch or become constants: a longer window shows if that does harm.
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
