"""The machine's speed, measured before and after a training and reported in summary.json."""

import logging
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from app.core import run_folder
from app.core.files import read_json, write_json
from app.train.machine.machine_speed import measure_yardstick

log = logging.getLogger(__name__)


def note_speed(folder: Path, device: torch.device) -> None:
    """Measure the speed now and append it to the run's earlier measurements."""
    seconds = measure_yardstick(device, torch.get_num_threads())
    if seconds is None:
        return
    log.info("yardstick: a training step of nnU-Net's network takes %.1f s on this machine now", seconds)
    write_json(folder / run_folder.YARDSTICK, {"seconds": [*_measured(folder), round(seconds, 3)]})


def yardstick_facts(folder: Path, train_seconds: float) -> dict[str, Any]:
    """Return the measured seconds per step, and the training time in such steps; empty without measurements.

    A run without interruption has two measurements, before and after; a resumed run has more.
    """
    seconds = _measured(folder)
    if not seconds:
        return {}
    return {"yardstick_seconds": seconds, "yardstick_steps": round(train_seconds / fmean(seconds), 1)}


def _measured(folder: Path) -> list[float]:
    path = folder / run_folder.YARDSTICK
    return [float(value) for value in read_json(path)["seconds"]] if path.is_file() else []
