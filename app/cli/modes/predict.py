"""mode=predict: label maps for scans, each in its scan's own geometry, with a manifest beside them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig

from app.cli.config.build import build_sliding, choose_device
from app.cli.config.settings import plain, read_settings, required
from app.core.errors import InputError, Interrupted
from app.core.reading import Reading
from app.infer.batch.dicom_seg import check_dicom_seg
from app.infer.batch.manifest import Manifest, describe_segmenter
from app.infer.batch.outputs import OutputSettings
from app.infer.batch.predict import Predicted, predict_scans
from app.infer.batch.scans import list_scans
from app.infer.scan.cleanup import NO_CLEANUP
from app.infer.scan.run_models import flipped_axes, list_runs, read_members
from app.infer.scan.segmenter import Segmenter
from app.io.volumes import case_name

log = logging.getLogger(__name__)
_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class _Running:
    """How the networks are run."""

    weights: str
    """last or best"""
    engine: str
    """One of app.infer.engines."""
    memory_gb: float | None
    """What the process may hold at most."""
    cleanup: bool
    """Whether to clean up where the runs record a gain."""
    channels: Any
    """The order of channels with a file or series each; None as trained."""
    slice_jitter: float | None
    """How far slices of a series may lie from an even grid, as a share of their distance; None as trained."""


def run(cfg: DictConfig) -> Path:
    """Segment every scan; InputError at the end when some could not be."""
    settings, running = _section(OutputSettings, cfg), _section(_Running, cfg)
    runs = list_runs(_paths(cfg.predict, "model"))
    output = Path(required(cfg.predict, "output", "predict"))
    scans = list_scans(_paths(cfg.predict, "input"), output)
    if settings.format == "dicom":
        for scan in scans:
            check_dicom_seg(scan)
    segmenter = _segmenter(cfg, runs, running)
    header = describe_segmenter(segmenter, list(map(str, runs)), running.weights, running.engine)
    manifest = Manifest(output, header)
    try:
        done = predict_scans(segmenter, scans, output, settings, manifest)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command goes on with the scans that are left") from None
    _report(done, scans, output, manifest)
    return output


def _section(cls: type[_Settings], cfg: DictConfig) -> _Settings:
    """What a class has of the section `predict`."""
    values = plain(cfg.predict)
    return read_settings(cls, {field.name: values[field.name] for field in fields(cls)}, "predict")  # type: ignore[arg-type]


def _segmenter(cfg: DictConfig, runs: Sequence[Path], running: _Running) -> Segmenter:
    members = read_members(runs, running.weights)
    segmenter = Segmenter.from_members(
        members,
        sliding=build_sliding(cfg, flipped_axes(members)),
        device=choose_device(cfg),
        engine=running.engine,
        memory_gb=running.memory_gb,
    )
    segmenter = replace(segmenter, reading=_reading(running, segmenter.reading))
    return segmenter if running.cleanup else replace(segmenter, cleanup=NO_CLEANUP)


def _reading(running: _Running, trained: Reading) -> Reading:
    """How scans are read: as the training read them where nothing is set."""
    channels = trained.channels if running.channels is None else running.channels
    jitter = trained.slice_jitter if running.slice_jitter is None else running.slice_jitter
    return Reading(channels if isinstance(channels, str) else tuple(channels), jitter, trained.modalities)


def _report(done: Predicted, scans: Sequence[Path], output: Path, manifest: Manifest) -> None:
    log.info("%d label maps written to %s, %d kept from before", len(done.written), output, len(done.kept))
    for message in done.failed.values():
        log.error("failed: %s", message)
    strange = ", ".join(manifest.by_others(map(case_name, done.kept)))
    if strange:
        log.warning(
            "kept, but made by other networks or settings, or unknown by which: %s; see predict.overwrite",
            strange,
        )
    if done.bare:
        names = ", ".join(case_name(scan) for scan in done.bare)
        log.warning("kept, but without the probabilities or entropy wanted: %s; see predict.overwrite", names)
    if done.failed:
        raise InputError(f"{len(done.failed)} of {len(scans)} scans could not be segmented, see above")


def _paths(section: DictConfig, key: str) -> list[Path]:
    """One path or a list of them."""
    value = section[key]
    if isinstance(value, ListConfig):
        return [Path(item) for item in value]
    return [Path(required(section, key, "predict"))]
