"""The mode export: write a trained network for other engines and programs, and compare it with PyTorch."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from app.cli.config.build import build_sliding
from app.cli.config.run_config import data_moved
from app.cli.config.settings import read_settings, required
from app.core import run_folder
from app.core.errors import InputError
from app.core.optional import require_packages
from app.infer.engines.engine import Member
from app.infer.export.bundle import export_bundle
from app.infer.export.formats import export_onnx, export_torch
from app.infer.export.quantise import PACKAGES, quantise
from app.infer.scan.run_models import flipped_axes, read_members
from app.infer.window.sliding import SlidingSettings

log = logging.getLogger(__name__)

_Export = Callable[[Member, Path, SlidingSettings], float]
_FORMATS: dict[str, _Export] = {"onnx": export_onnx, "torch": export_torch, "bundle": export_bundle}


@dataclass(frozen=True)
class _Settings:
    """Which network is written, in which format, and where."""

    model: str | None
    format: str
    output: str | None
    weights: str
    """Checkpoint: last or best."""
    cases: int | None
    """Held-out cases that 8 bits are scored on; None for all."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.cases is not None and self.cases < 1:
            raise InputError(f"export.cases: got {self.cases}, wanted at least 1, or null for all")


def run(cfg: DictConfig) -> Path:
    """Write the export and log its difference to PyTorch; 8 bits go where predict.engine finds them."""
    run = Path(required(cfg.export, "model", "export", wanted="run folder"))
    settings = read_settings(_Settings, cfg.export, "export")
    (member,) = read_members([run], settings.weights)
    if member.checkpoint.locator is not None:
        raise InputError(
            f"export.model: {run}: this run has two networks, an export one; train with plan.stages=1, "
            "or predict with predict.engine=onnxruntime or openvino"
        )
    if settings.format == "int8":
        _quantise(member, settings.cases)
        return run / run_folder.EXPORT
    if settings.format not in _FORMATS:
        raise InputError(f"export.format: got {settings.format!r}, wanted {', '.join([*_FORMATS, 'int8'])}")
    folder = Path(settings.output or run / run_folder.EXPORT / settings.format)
    sliding = build_sliding(cfg, flipped_axes([member])).suited(
        fits_other_sizes=member.checkpoint.network.fits_other_sizes()
    )
    difference = _FORMATS[settings.format](member, folder, sliding)
    log.info("%s: logits within %.1e of torch's", folder, difference)
    return folder


def _quantise(member: Member, cases: int | None) -> None:
    require_packages("export.format=int8", *PACKAGES)
    facts = quantise(member, cases=cases, moved=data_moved())
    log.info(
        "mean Dice %.4f with 8 bits, %.4f before, on %d held-out cases; predict with "
        "predict.engine=openvino_int8",
        facts["dice_int8"], facts["dice"], facts["cases"],
    )  # fmt: skip
