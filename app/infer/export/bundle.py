"""Exporting a trained network as a MONAI bundle, which runs without this application.

    python -m monai.bundle run --config_file <bundle>/configs/inference.json --bundle_root <bundle> \
        --image <scan> --output_dir <folder>

Its transforms are those of MONAI that come closest to ours. MONAI's B-spline resampling rounds sizes
differently, so label maps agree except for voxels on borders. A bundle always uses windows of the patch's
size and has no mirror images, no stacks of thin slices, no skipping of air and no clean-up. If mode=predict
uses any of these, its label maps differ from the bundle's for that reason too.
"""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.core.files import atomic_path, write_json
from app.core.plan import Normalisation
from app.core.run_folder import BUNDLE_WEIGHTS
from app.core.slices import sliced_axis
from app.infer.engines.engine import Member
from app.infer.engines.parity import check_parity
from app.infer.export.formats import load_exported, save_exported
from app.infer.scan.cleanup import NO_CLEANUP, read_cleanup
from app.infer.window.sliding import SlidingSettings
from app.models.checkpoint import Checkpoint, write_checkpoint

log = logging.getLogger(__name__)
_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)


def export_bundle(member: Member, folder: Path, sliding: SlidingSettings) -> float:
    """Write the bundle, and log a warning of the steps of prediction that it lacks.

    Return the largest difference between the logits of its network and torch's.

    Raises:
        InputError: the logits of its network differ too much from torch's.
    """
    checkpoint = member.checkpoint
    with atomic_path(folder / "models" / "model.pt2") as temporary:
        save_exported(temporary, checkpoint)
        difference = check_parity(load_exported(temporary), checkpoint)
    write_checkpoint(folder / BUNDLE_WEIGHTS, checkpoint.without_training())  # train.init can read it
    write_json(folder / "configs" / "metadata.json", _metadata(checkpoint))
    write_json(folder / "configs" / "inference.json", _inference(checkpoint, sliding))
    left_out = {
        f"mirror images along axes {list(sliding.mirror_axes)}": bool(sliding.mirror_axes),
        "windows longer than the patch": sliding.windows > 1,
        "stacks of thin slices": sliced_axis(checkpoint.plan.spacing) is not None,
        "skip_air": sliding.skip_air,
        "clean-up": read_cleanup([member.run]) != NO_CLEANUP or checkpoint.joining_mm is not None,
    }
    lacking = ", ".join(name for name, wanted in left_out.items() if wanted)
    if lacking:
        log.warning("%s: a bundle does not support %s, so label maps of mode=predict differ", folder, lacking)
    return difference


def _inference(checkpoint: Checkpoint, sliding: SlidingSettings) -> dict[str, Any]:
    """Return MONAI's configuration of inference; $ marks an expression, @ a reference."""
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "image": "$None",
        "output_dir": "$@bundle_root + '/eval'",
        "network": "$torch.export.load(@bundle_root + '/models/model.pt2').module()",
        "preprocessing": {"_target_": "Compose", "transforms": _before(checkpoint)},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(checkpoint.plan.patch),
            "sw_batch_size": sliding.windows,
            "overlap": sliding.overlap,
            "mode": "gaussian",
        },
        "postprocessing": {"_target_": "Compose", "transforms": _after(checkpoint)},
        "scan": "$@preprocessing({'image': @image})",
        "logits": "$@inferer(@scan['image'][None], torch.no_grad()(@network.forward))[0]",
        "run": ["$@postprocessing({**@scan, 'pred': @logits})"],
    }


def _before(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    pixdim = list(checkpoint.plan.spacing)
    return [
        {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "SAR", "labels": None},
        {
            "_target_": "CropForegroundd",
            "keys": "image",
            "source_key": "image",
            "select_fn": "$lambda x: x != 0",
            "allow_smaller": True,
        },
        *_normalise(checkpoint.plan.normalisation),
        {"_target_": "Spacingd", "keys": "image", "pixdim": pixdim, "mode": 3, "padding_mode": "mirror"},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
    ]


def _normalise(channels: Sequence[Normalisation]) -> list[dict[str, Any]]:
    """Return the transforms that normalise one channel, or several by splitting and joining them."""
    steps = [_channel(how) for how in channels]
    if len(channels) == 1:
        return [{**steps[0], "_target_": f"{steps[0]['_target_']}d", "keys": "image"}]
    single = ", ".join(f"'{index}'" for index in range(len(channels)))
    split = {"_target_": "SplitDimd", "keys": "image", "output_postfixes": f"$[{single}]", "keepdim": True}
    names = [f"image_{index}" for index in range(len(channels))]
    each = [
        {**step, "_target_": f"{step['_target_']}d", "keys": name}
        for step, name in zip(steps, names, strict=True)
    ]
    join = {"_target_": "ConcatItemsd", "keys": names, "name": "image", "dim": 0}
    return [split, *each, join]


def _channel(how: Normalisation) -> dict[str, Any]:
    if how.scheme == "ct":
        return {
            "_target_": "ScaleIntensityRange",
            "a_min": how.low,
            "a_max": how.high,
            "b_min": (how.low - how.mean) / max(how.std, 1e-6),
            "b_max": (how.high - how.mean) / max(how.std, 1e-6),
            "clip": True,
        }
    return {"_target_": "NormalizeIntensity", "nonzero": how.scheme == "zscore_nonzero"}


def _after(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    values = checkpoint.label_values[: len(checkpoint.labels)]
    return [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        *_valued(values),
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "seg",
            "output_dtype": "$torch.uint8" if max(values) <= 255 else "$torch.uint16",
            "separate_folder": False,
            "resample": False,
        },
    ]


def _valued(values: Sequence[int]) -> list[dict[str, Any]]:
    """Return the transform from classes to label values; none if they are equal."""
    classes = list(range(len(values)))
    if classes == list(values):
        return []
    mapping = {"orig_labels": classes, "target_labels": list(values), "dtype": "$torch.float32"}
    return [{"_target_": "MapLabelValued", "keys": "pred", **mapping}]


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    channels = {str(index): name for index, name in enumerate(checkpoint.modalities)}
    labels = {str(value): name for value, name in enumerate(checkpoint.labels)}
    return {
        "schema": _SCHEMA,
        "version": "1.0.0",
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "task": "3D segmentation",
        "description": f"Segments {', '.join(checkpoint.labels[1:])}",
        "weights_sha256": checkpoint.digest,
        "network_data_format": {
            "inputs": {"image": _data_format(checkpoint, "magnitude", channels)},
            "outputs": {"pred": _data_format(checkpoint, "segmentation", labels)},
        },
    }


def _data_format(checkpoint: Checkpoint, kind: str, channels: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "image",
        "format": kind,
        "num_channels": len(channels),
        "spatial_shape": list(checkpoint.plan.patch),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": channels,
    }
