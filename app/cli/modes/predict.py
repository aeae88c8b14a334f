"""The mode predict: label maps for scans, each in its scan's own geometry, with a manifest."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from app.cli.config.build import build_sliding, choose_device
from app.cli.config.settings import read_part, required, section_values
from app.core.errors import InputError, Interrupted
from app.core.hidden import hide
from app.core.listed import listed
from app.core.lock import locked
from app.core.moved import listed_paths
from app.core.optional import require_packages
from app.core.reading import Reading
from app.core.scan_warning import warning_lines
from app.infer.batch.manifest import Manifest, describe_segmenter
from app.infer.batch.outputs import DICOM, OutputSettings
from app.infer.batch.predict import Predicted, predict_scans
from app.infer.batch.scans import Found, find_scans
from app.infer.scan.cleanup import NO_CLEANUP
from app.infer.scan.run_models import flipped_axes, list_runs, read_members
from app.infer.scan.segmenter import Segmenter
from app.io.privacy import Alias, known_as
from app.io.scan_paths import channels_of, find_channels

log = logging.getLogger(__name__)
_LISTED = 5  # most files named in a message
_WANTED = {"model": "run folder", "input": "scan or folder of scans", "output": "folder for label maps"}
_NO_MODEL = "; docs/models/phantom is one to try, and python run.py trains one"


@dataclass(frozen=True)
class _Running:
    """Settings of the networks that run on scans."""

    weights: str
    """Weights to use: last or best."""
    engine: str
    """Name of one of the engines in app.infer.engines."""
    precision: str
    """Precision of the networks' computations: fp32, bf16, fp16 or auto."""
    memory_gb: float | None
    """Most memory that the process may use."""
    cleanup: bool
    """Whether to apply the clean-up that the runs recorded as a gain."""
    anonymous: bool
    """Whether the patient's name, id and date of birth are left out."""
    channels: Any
    """Order of channels that have a file or series each; None as trained."""
    slice_jitter: float | None
    """Largest deviation of slices from an even grid, as a share of their distance; None as trained."""


def run(cfg: DictConfig) -> Path:
    """Segment every scan; raise an InputError at the end if some failed."""
    settings = read_part(OutputSettings, cfg.predict, "predict")
    running = read_part(_Running, cfg.predict, "predict")
    if settings.format in DICOM:
        require_packages(f"predict.format={settings.format}", "highdicom", "pydicom")
    models, inputs = _paths(cfg.predict, "model"), _paths(cfg.predict, "input")
    output = _paths(cfg.predict, "output")[0]
    runs = list_runs(models)
    segmenter = _segmenter(cfg, runs, running)
    trained = segmenter.reading
    segmenter = replace(segmenter, reading=_reading(running, trained))
    found = find_scans(inputs, output, segmenter.reading)
    left_out = _by_reason(found.left_out)
    listed_names = {path.name for files in left_out.values() for path in files[:_LISTED]}
    aliases = known_as(found.names, anonymous=running.anonymous, others=listed_names)
    hide(word for alias in aliases.values() for word in alias.words)
    scans = found.scans
    _log_left_out(left_out)
    _log_scans(found, aliases, segmenter.reading)
    facts = (list(map(str, runs)), running.weights, running.engine, running.precision)
    header = describe_segmenter(segmenter, *facts, trained=trained)
    with locked(output):  # two commands would each leave out what the other records
        manifest = Manifest(output, header)
        try:
            done = predict_scans(segmenter, scans, output, settings, manifest, aliases=aliases)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; run the same command again for the scans that are left") from None
        finally:
            manifest.close()
    _report(done, aliases, output, manifest)
    return output


def _segmenter(cfg: DictConfig, runs: Sequence[Path], running: _Running) -> Segmenter:
    members = read_members(runs, running.weights)
    segmenter = Segmenter.from_members(
        members,
        sliding=build_sliding(cfg, flipped_axes(members)),
        device=choose_device(cfg),
        engine=running.engine,
        memory_gb=running.memory_gb,
        precision=running.precision,
    )
    return segmenter if running.cleanup else replace(segmenter, cleanup=NO_CLEANUP, joining_mm=None)


def _reading(running: _Running, trained: Reading) -> Reading:
    """Return how scans are read: as in training unless set otherwise."""
    channels = trained.channels if running.channels is None else running.channels
    jitter = trained.slice_jitter if running.slice_jitter is None else running.slice_jitter
    return Reading(channels if isinstance(channels, str) else tuple(channels), jitter, trained.modalities)


def _by_reason(left_out: Mapping[Path, str]) -> dict[str, list[Path]]:
    """Return the files left out by reason, in alphabetical order of the reasons."""
    return {
        reason: [path for path, why in left_out.items() if why == reason]
        for reason in sorted(set(left_out.values()))
    }


def _log_left_out(left_out: Mapping[str, Sequence[Path]]) -> None:
    for reason, files in left_out.items():
        log.warning("left out: %s: %s", listed((path.name for path in files), _LISTED), reason)


def _log_scans(found: Found, aliases: Mapping[Path, Alias], reading: Reading) -> None:
    """Log the scans that are named unlike their files, and the order of channels."""
    renamed = sum(aliases[scan].name != name for scan, name in found.names.items())
    if renamed:
        log.warning(
            "%d scans are named after their patients; results are "
            "named after the series instead, see predict.anonymous",
            renamed,
        )
    if len(reading.modalities) < 2 and not reading.words:
        return
    orders: Counter[str] = Counter()
    for scan, alias in aliases.items():
        with suppress(InputError):  # the segmentation of this scan will report it
            chosen = channels_of(scan, reading) if not scan.is_file() else []
            pairs = zip(reading.modalities, chosen, strict=False)
            order = ", ".join(f"{name} = {channel.shown}" for name, channel in pairs)
            unused = (
                [channel.shown for channel in find_channels(scan) if channel not in chosen] if chosen else []
            )
            orders[alias.clean(order + f"; not used: {', '.join(unused)}" * bool(unused))] += bool(chosen)
    for order, count in (+orders).items():
        log.info("channels of %d scans: %s", count, order)


def _report(done: Predicted, aliases: Mapping[Path, Alias], output: Path, manifest: Manifest) -> None:
    log.info("label maps in %s: %d written, %d kept", output, len(done.written), len(done.kept))
    for line in warning_lines({aliases[scan].name: found for scan, found in done.warnings.items()}):
        log.warning("%s", line)
    if done.again:
        names = listed(aliases[scan].name for scan in done.again)
        log.warning("%d scans have changed since and were segmented again: %s", len(done.again), names)
    for message in done.failed.values():
        log.error("failed: %s", message)
    strange = ", ".join(manifest.by_others(aliases[scan].name for scan in done.kept))
    if strange:
        log.warning(
            "kept, but made by other or unknown networks or settings: %s; predict.overwrite=true replaces "
            "them",
            strange,
        )
    if done.bare:
        names = ", ".join(aliases[scan].name for scan in done.bare)
        log.warning(
            "kept, but without the requested probabilities or entropy: %s; "
            "predict.overwrite=true replaces them",
            names,
        )
    if done.failed:
        raise InputError(
            f"{len(done.failed)} of {len(aliases)} scans could not be segmented, see above; the same command "
            "tries them again"
        )


def _paths(section: DictConfig, key: str) -> tuple[Path, ...]:
    """Return one path or a list of them."""
    required(section, key, "predict", wanted=_WANTED[key], hint=_NO_MODEL if key == "model" else "")
    return listed_paths(section_values(section)[key])
