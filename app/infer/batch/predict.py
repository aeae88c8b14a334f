"""Predicting label maps of many scans, each in its scan's own geometry; a faulty scan does not stop the rest.

While a network runs on one scan, the next scan is read and the results of the one before are written.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from app.core.errors import InputError, interrupts_kept
from app.core.listed import listed
from app.core.progress import progress_bar
from app.core.read_ahead import read_ahead
from app.core.scan_warning import ScanWarning
from app.data.prepare.prepare import Prepared, check_channels
from app.infer.batch.dicom_sources import check_is_series
from app.infer.batch.kept import Fate, ScanIdentity, clash, decide
from app.infer.batch.manifest import Manifest, volumes_ml
from app.infer.batch.outputs import DICOM, Outputs, OutputSettings
from app.infer.scan.clock import Clock
from app.infer.scan.segmentation import Arrays
from app.infer.scan.segmenter import Segmenter
from app.infer.scan.warnings import scan_warnings
from app.io.header_warnings import header_warnings
from app.io.privacy import Alias, known_as
from app.io.scan_paths import case_name
from app.io.volumes import read_volume

log = logging.getLogger(__name__)
_Record = Callable[..., None]


@dataclass(frozen=True)
class Predicted:
    """The result of a prediction of many scans."""

    written: tuple[Path, ...]
    """Label maps written."""
    kept: tuple[Path, ...]
    """Scans whose existing label maps were kept."""
    failed: dict[Path, str]
    """Errors by scan."""
    bare: tuple[Path, ...]
    """Scans in `kept` that lack probabilities or entropy that are wanted."""
    again: tuple[Path, ...] = ()
    """Scans segmented again, as they were replaced after their label maps were made, or failed before."""
    warnings: dict[Path, tuple[ScanWarning, ...]] = field(default_factory=dict)
    """Warnings about the scans that were segmented."""


@dataclass(frozen=True)
class _Loaded:
    """A prepared scan, without the voxels that were read."""

    prepared: Prepared
    voxel_mm3: float
    warnings: tuple[ScanWarning, ...]
    content: ScanIdentity
    seconds: dict[str, float]


def predict_scans(
    segmenter: Segmenter,
    scans: Sequence[Path],
    output: Path,
    settings: OutputSettings,
    manifest: Manifest,
    *,
    aliases: Mapping[Path, Alias] | None = None,
) -> Predicted:
    """Write `<output>/<case>.<format>` for each scan; without `overwrite`, existing label maps are kept.

    Files, records and messages use the names of scans in `aliases`, by default those of their files or
    folders.
    """
    called = aliases or known_as({scan: case_name(scan) for scan in scans}, anonymous=False)
    outputs = {scan: Outputs.of(called[scan].name, output, settings) for scan in scans}
    failed = _refused(outputs, called, manifest)
    fates = {
        scan: Fate.SEGMENT
        if settings.overwrite
        else decide(scan, called[scan], out, manifest.of(called[scan].name), segmenter.reading)
        for scan, out in outputs.items()
        if scan not in failed
    }
    for scan in [scan for scan, fate in fates.items() if fate == Fate.CLASH]:
        failed[scan] = called[scan].clean(clash(outputs[scan], manifest.of(called[scan].name)))
        manifest.refuse(called[scan].shown, failed[scan])
    kept = [scan for scan, fate in fates.items() if fate == Fate.KEEP]
    todo = [scan for scan, fate in fates.items() if fate in (Fate.SEGMENT, Fate.AGAIN)]
    warnings: dict[Path, tuple[ScanWarning, ...]] = {}
    with progress_bar("Segmenting", len(scans), done=len(kept)) as advance, ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        load_scan = partial(_load, segmenter, settings.format)
        reading = read_ahead(todo, load_scan, ahead=segmenter.memory_gb is None)
        for scan, load in reading:
            write: Callable[[], None]
            try:
                with interrupts_kept():
                    loaded = load()
                    warnings[scan] = loaded.warnings
                    write = _segment(
                        segmenter, scan, loaded, outputs[scan], record=manifest.record, alias=called[scan]
                    )
            except Exception as error:  # an error of one scan must not stop the others
                write = partial(_raise, error)
            if writing is not None:
                writing.result()
            writing = writer.submit(_finish, scan, called[scan], write, manifest, failed)
            advance(note=called[scan].name)
        if writing is not None:
            writing.result()
    done = [outputs[scan].labels for scan in todo if scan not in failed]
    bare = [scan for scan in kept if outputs[scan].lacks_volumes]
    again = [scan for scan, fate in fates.items() if fate == Fate.AGAIN]
    return Predicted(tuple(done), tuple(kept), failed, tuple(bare), tuple(again), warnings)


def _finish(
    scan: Path, alias: Alias, write: Callable[[], None], manifest: Manifest, failed: dict[Path, str]
) -> None:
    """Write the results of a scan, or record the error if there are none.

    A scan whose writing began but did not end, as after a kill, is segmented again by the next command.
    """
    manifest.record(alias.name, status="begun", input=alias.shown)
    try:
        write()
    except Exception as error:
        failed[scan] = alias.clean(_format_error(scan, error))
        manifest.record(alias.name, status="failed", input=alias.shown, error=failed[scan])


def _format_error(scan: Path, error: Exception) -> str:
    """Return the error of a scan as one line with its path; log the traceback if the error is a defect."""
    if isinstance(error, InputError):
        return str(error) if scan.name in str(error) else f"{scan}: {error}"
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, MemoryError) or "memory" in lines[0].lower():
        return f"{scan}: out of memory ({lines[0]}); lower predict.memory_gb, or crop the scan"
    if isinstance(error, OSError):  # such as a disk or a network folder that is gone
        other = f"{error.filename}: " if error.filename not in (None, str(scan)) else ""
        why = error.strerror or lines[0]
        return f"{scan}: {other}{why}; run the same command again once that file can be used"
    log.error("%s: this is a defect of this program, not of your data", scan.name, exc_info=error)
    return f"{scan}: {type(error).__name__}: {lines[0]}"


def _raise(error: Exception) -> None:
    raise error


def _load(segmenter: Segmenter, wanted: str, scan: Path) -> _Loaded:
    if wanted in DICOM:
        check_is_series(scan, segmenter.reading, wanted)
    clock = Clock()
    with clock.step("read"):
        volume = read_volume(scan, segmenter.reading)
        content = ScanIdentity.of(scan)
    check_channels(volume, segmenter.modalities, str(scan))
    with clock.step("prepare"):
        prepared = segmenter.prepare(volume)
    headers = [ScanWarning(kind, text) for kind, text in header_warnings(scan, segmenter.reading).items()]
    odd = scan_warnings(volume, prepared, segmenter.plans[0], segmenter.modalities)
    return _Loaded(prepared, volume.voxel_mm3, (*headers, *odd), content, clock.seconds)


def _segment(
    segmenter: Segmenter, scan: Path, loaded: _Loaded, outputs: Outputs, *, record: _Record, alias: Alias
) -> Callable[[], None]:
    """Run the networks on a scan; return a function that writes the results and their record."""
    arrays = outputs.arrays(loaded.prepared.geometry.scan, len(segmenter.labels))
    segmentation = segmenter.segment(loaded.prepared, arrays)
    dropped = [segmentation.dropped] if segmentation.dropped else []
    facts = {
        "input": alias.shown,
        "output": outputs.labels.name,
        "volumes_ml": volumes_ml(arrays.labels, loaded.voxel_mm3, segmenter.labels),
        "confidence": {"soft_dice": segmentation.soft_dice, "agreement": segmentation.agreement},
        "warnings": [alias.clean(str(warning)) for warning in loaded.warnings] + dropped,
        "scan": asdict(loaded.content),
    }
    seconds = {**loaded.seconds, **segmentation.seconds}
    written = partial(record, alias.name, status="written", **facts)
    return partial(_write, scan, arrays, outputs, segmenter, written, seconds=seconds)


def _write(
    scan: Path,
    arrays: Arrays,
    outputs: Outputs,
    segmenter: Segmenter,
    record: _Record,
    *,
    seconds: dict[str, float],
) -> None:
    clock = Clock()
    with clock.step("write"):
        outputs.write(arrays, scan, segmenter.labels, segmenter.label_values, segmenter.reading)
    rounded = {name: round(value, 3) for name, value in {**seconds, **clock.seconds}.items()}
    record(seconds=rounded)


def _refused(
    outputs: Mapping[Path, Outputs], called: Mapping[Path, Alias], manifest: Manifest
) -> dict[Path, str]:
    """Return the scans that would share a label map and are not segmented, with the error of each.

    Raises:
        InputError: a scan would be overwritten by its own label map.
    """
    targets: dict[Path, list[Path]] = defaultdict(list)
    for scan, out in outputs.items():
        if out.labels.resolve() == scan.resolve():
            raise InputError(f"predict.output: {scan} would be overwritten by its label map")
        targets[out.labels].append(scan)
    refused = {}
    for target, scans in targets.items():
        for scan in scans if len(scans) > 1 else ():
            others = listed(called[other].shown for other in scans if other != scan)
            refused[scan] = (
                f"{called[scan].shown} and {others} would both be written to {target}; rename one of them"
            )
            manifest.refuse(called[scan].shown, refused[scan])
    return refused
