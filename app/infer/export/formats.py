"""Exporting a trained network: the graph, a description of the steps around it, and a check.

The exported graph is written under a temporary name, run on random windows (one, a batch of three, for ONNX
also a longer one) and compared with torch. It gets its name only if they agree.
"""

import io
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.core.files import atomic_path, write_json
from app.core.optional import require_packages
from app.infer.engines import NEEDS
from app.infer.engines.engine import Engine, Member
from app.infer.engines.onnx_file import INPUT, OUTPUT, cached_onnx
from app.infer.engines.onnxruntime import OnnxRuntimeEngine
from app.infer.engines.parity import check_parity
from app.infer.scan.cleanup import read_cleanup
from app.infer.window.sliding import SlidingSettings
from app.models.checkpoint import Checkpoint


def export_onnx(member: Member, folder: Path, sliding: SlidingSettings) -> float:
    """Write model.onnx and preprocessing.json; return the largest difference between its logits and torch's.

    Raises:
        InputError: packages are missing, the network cannot be written as ONNX, or logits differ too much.
    """
    require_packages("export.format=onnx", *NEEDS["onnxruntime"])
    with atomic_path(folder / "model.onnx") as temporary:
        shutil.copyfile(cached_onnx(member, OnnxRuntimeEngine), temporary)
        difference = check_parity(OnnxRuntimeEngine(temporary), member.checkpoint, longer=True)
    _write_preprocessing(folder, member, sliding, file="model.onnx", difference=difference)
    return difference


def export_torch(member: Member, folder: Path, sliding: SlidingSettings) -> float:
    """Write model.pt2, a graph of torch.export, and preprocessing.json.

    Return the largest difference between its logits and torch's.

    Raises:
        InputError: logits differ too much.
    """
    with atomic_path(folder / "model.pt2") as temporary:
        save_exported(temporary, member.checkpoint)
        difference = check_parity(load_exported(temporary), member.checkpoint)
    _write_preprocessing(folder, member, sliding, file="model.pt2", difference=difference)
    return difference


def save_exported(path: Path, checkpoint: Checkpoint) -> None:
    """Write a torch.export graph for any number of windows of the size of the plan's patch."""
    sample = torch.zeros(2, len(checkpoint.modalities), *checkpoint.plan.patch)
    windows = torch.export.Dim("windows", min=1)
    with torch.no_grad():
        graph = torch.export.export(checkpoint.trained_network(), (sample,), dynamic_shapes=({0: windows},))
    packed = io.BytesIO()  # saving to a file would not report a full disk as such
    torch.export.save(graph, packed)
    path.write_bytes(packed.getvalue())


def load_exported(path: Path) -> Engine:
    """Return a graph written by `save_exported` as an engine."""
    network = torch.export.load(path).module()

    def run(windows: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(windows)
        return logits

    return run


def preprocessing(member: Member, sliding: SlidingSettings) -> dict[str, Any]:
    """Return the settings and steps that turn a scan into windows, and logits into its label map."""
    checkpoint, plan = member.checkpoint, member.checkpoint.plan
    return {
        "input": {"name": INPUT, "shape": ["windows", len(checkpoint.modalities), *plan.patch]},
        "output": {"name": OUTPUT, "shape": ["windows", len(checkpoint.labels), *plan.patch]},
        "modalities": list(checkpoint.modalities),
        "labels": list(checkpoint.labels),
        "label_values": list(checkpoint.label_values[: len(checkpoint.labels)]),
        "orientation": "SAR",
        "spacing_mm": list(plan.spacing),
        "normalisation": [asdict(channel) for channel in plan.normalisation],
        "patch": list(plan.patch),
        "size_multiple": list(plan.total_stride),
        "sliding": asdict(sliding),
        "swapped": list(plan.swapped),
        "cleanup": {**asdict(read_cleanup([member.run])), "joining_mm": checkpoint.joining_mm},
        "weights_sha256": checkpoint.digest,
        "steps": [
            "orient axes to (superior, anterior, right), by permutation and flips alone",
            "crop to the box of voxels that are non-zero in any channel",
            "normalise each channel: ct clips to low..high; all subtract a mean and divide by a deviation, "
            "of the training set for ct, of the image for zscore, of its non-zero voxels, which alone "
            "change, for zscore_nonzero",
            "if spacing_mm is over twice as long along one axis as along both others, let n there be "
            "min(4, floor(spacing_mm / (0.85 * own spacing))); if n is over 1, divide spacing_mm by n along "
            "that axis, multiply patch and size_multiple by n, and give the model slices 1, n + 1, ... of a "
            "window, then slices 2, n + 2, ... and so on; interleave their logits",
            "resample by cubic B-splines to round(size * own spacing / spacing_mm) voxels, over one extent",
            "lay windows with the overlap; pad shorter axes with zeros on both sides",
            "of the windows that are patch plus multiples of size_multiple long, up to "
            f"{sliding.stretch:g} times patch along each axis and sliding.windows times its voxels, take "
            "those that compute the fewest voxels, then the smallest (model.onnx takes them, "
            "model.pt2 patch alone)",
            "with sliding.skip_air leave out windows that lie at the lower clip bound of a ct channel all "
            "over or are constant in every channel; what no window covers is background",
            "average logits of each window over its mirror images along every combination of "
            "sliding.mirror_axes, turned back, in this order: none, each axis, each two, all three; where "
            "axis 2 is mirrored, logit l is that of label swapped[l], if swapped is not empty",
            "a window's first image is that; with sliding.alternate and several windows the one numbered by "
            "its places along the three axes, summed, modulo the count of images, is first",
            "with sliding.alternate and several windows the first image is the only one; with "
            "sliding.certain, alternating or not, the rest follow where the likeliest label of some voxel is "
            "less probable than that",
            "average logits of windows with Gaussian weights (deviation 1/8 of the window)",
            "resample logits linearly to the crop, take the largest, put the crop back, undo the orientation",
            "write label_values[l] for the l-th label",
            "if cleanup.joining_mm is set, join foreground parts at most that many mm apart to groups, and "
            "make background of all groups except the largest",
            "of each label in cleanup.largest_component keep the largest component alone, faces joined; then "
            "give background that a label in cleanup.fill_holes encloses on all sides to that label",
        ],
    }


def _write_preprocessing(
    folder: Path, member: Member, sliding: SlidingSettings, *, file: str, difference: float
) -> None:
    facts = {"file": file, "largest_difference": difference, **preprocessing(member, sliding)}
    write_json(folder / "preprocessing.json", facts)
