"""Quantising a network to 8 bits: calibrated on training cases, scored on held-out cases (NNCF, OpenVINO)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.files import remove, write_json
from app.core.moved import UNMOVED, Moved
from app.core.progress import progress_bar
from app.core.task import Case
from app.core.types import as_size
from app.data.prepare.prepare import prepare
from app.data.sets.recorded import recorded_cases
from app.infer.batch.case_dice import dice_of_cases, mean_over_labels
from app.infer.engines.eager import eager_engine
from app.infer.engines.engine import Engine, Member
from app.infer.engines.int8_file import LARGEST_LOSS, int8_paths
from app.infer.engines.onnx_file import INPUT, cached_onnx
from app.infer.engines.openvino import OpenVinoEngine
from app.infer.scan.run_models import stored_sliding
from app.infer.scan.segmenter import Segmenter
from app.infer.window.windows import lay_windows
from app.io.volumes import read_volume

PACKAGES = ("onnx", "openvino", "nncf")
_CALIBRATION_CASES = 20
_WINDOWS_A_CASE = 4  # with 80 windows in all, the ranges of activations no longer change much


def quantise(member: Member, *, cases: int | None, moved: Moved = UNMOVED) -> dict[str, float]:
    """Write the 8-bit graph and the record of its loss into the run folder; return the record.

    It is scored on `cases` held-out cases, spread over all; None takes all.

    Raises:
        InputError: the run held out no case, or the graph loses too much Dice. In the second case the graph
            is deleted and the record stays.
    """
    graph, record = int8_paths(member)
    held_out = recorded_cases(member.run, "validation", moved)
    if not held_out:
        raise InputError(
            f"{member.run}: held out no case to score 8 bits on; use predict.engine=openvino, or "
            "export a run of a fold"
        )
    _calibrate(member, graph, recorded_cases(member.run, "train", moved))
    chosen = held_out[:: max(1, len(held_out) // cases)][:cases] if cases else held_out
    exact = _judge(eager_engine(member, torch.device("cpu")), member, chosen)
    rounded = _judge(OpenVinoEngine(graph), member, chosen)
    facts = {"cases": len(chosen), "dice": exact, "dice_int8": rounded, "dice_lost": exact - rounded}
    write_json(record, facts)
    if facts["dice_lost"] > LARGEST_LOSS:
        remove(graph)
        raise InputError(
            f"8 bits lose {facts['dice_lost']:.4f} mean Dice on {len(chosen)} held-out cases of "
            f"{member.run}, {LARGEST_LOSS} is the largest loss accepted; use predict.engine=openvino"
        )
    return facts


def _calibrate(member: Member, path: Path, cases: Sequence[Case]) -> None:
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    step = max(1, len(cases) // _CALIBRATION_CASES)
    windows = list(_windows(member, cases[::step][:_CALIBRATION_CASES]))
    graph = openvino.Core().read_model(cached_onnx(member, OpenVinoEngine))
    graph.reshape([1, len(member.checkpoint.modalities), *member.checkpoint.plan.patch])
    data = nncf.Dataset(windows, lambda window: {INPUT: window})
    quantised = nncf.quantize(graph, data, subset_size=len(windows), preset=nncf.QuantizationPreset.MIXED)
    quantised.reshape([-1, len(member.checkpoint.modalities), -1, -1, -1])
    openvino.save_model(quantised, path, compress_to_fp16=False)


def _windows(member: Member, cases: Sequence[Case]) -> Iterator[NDArray[np.float32]]:
    """Yield windows (1, C, D, H, W) of training scans, spread over each scan."""
    plan = member.checkpoint.plan
    with progress_bar("Calibrating", len(cases)) as advance:
        for case in cases:
            image = prepare(read_volume(case.image, member.checkpoint.reading), None, plan).image
            padding = [(0, max(0, size - n)) for n, size in zip(image.shape[1:], plan.patch, strict=True)]
            padded = np.pad(image, [(0, 0), *padding])
            places = lay_windows(as_size(padded.shape[1:]), plan.patch, 0.0).places
            for d, h, w in places[:: max(1, len(places) // _WINDOWS_A_CASE)][:_WINDOWS_A_CASE]:
                depth, height, width = plan.patch
                yield np.ascontiguousarray(padded[None, :, d : d + depth, h : h + height, w : w + width])
            advance(note=case.id)


def _judge(engine: Engine, member: Member, cases: Sequence[Case]) -> float:
    checkpoint = member.checkpoint
    sliding = replace(stored_sliding([member]), mirror_axes=())
    segmenter = Segmenter(
        members=(engine,),
        plans=(checkpoint.plan,),
        modalities=checkpoint.modalities,
        labels=checkpoint.labels,
        sliding=sliding,
        reading=checkpoint.reading,
        values=checkpoint.values,
    )
    return mean_over_labels(dice_of_cases(segmenter, cases))
