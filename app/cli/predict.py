"""mode=predict: label maps for a scan or a folder of scans."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from app.cli.build import build_device, build_sliding
from app.cli.settings import required
from app.core.errors import InputError
from app.infer.predict import list_scans, predict_scans
from app.infer.segmenter import Segmenter

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Segment every scan; InputError at the end when some could not be."""
    model, source, output = (
        Path(required(cfg.predict, key, "predict")) for key in ("model", "input", "output")
    )
    scans = list_scans(source)
    segmenter = Segmenter.load(
        model, sliding=build_sliding(cfg), device=build_device(cfg), weights=cfg.predict.weights
    )
    done = predict_scans(segmenter, scans, output, overwrite=cfg.predict.overwrite)
    log.info("%d label maps written to %s, %d kept from before", len(done.written), output, len(done.kept))
    for message in done.failed.values():
        log.error("failed: %s", message)
    if done.failed:
        raise InputError(f"{len(done.failed)} of {len(scans)} scans could not be segmented, see above")
