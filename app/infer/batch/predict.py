"""Scans in, label maps out, each in its scan's own geometry; one bad scan does not stop the rest.

While a network works on one scan, the next is read and the one before is written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.core.errors import InputError
from app.core.progress import progress_bar
from app.data.prepare.prepare import Prepared, check_channels
from app.infer.batch.manifest import Manifest, volumes_ml
from app.infer.batch.outputs import Outputs, OutputSettings
from app.infer.batch.privacy import Alias, known_as
from app.infer.scan.clock import Clock
from app.infer.scan.segmentation import Arrays
from app.infer.scan.segmenter import Segmenter
from app.infer.scan.warnings import scan_warnings
from app.io.volumes import case_name, read_volume

_Record = Callable[..., None]


@dataclass(frozen=True)
class Predicted:
    """What became of the scans: label maps written, scans whose label maps were kept, and errors by scan.

    Of those kept, `bare` are without probabilities or entropy that are wanted.
    """

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    failed: dict[Path, str]
    bare: tuple[Path, ...]


@dataclass(frozen=True)
class _Loaded:
    """A scan read and prepared, its voxels forgotten."""

    prepared: Prepared
    voxel_mm3: float
    warnings: list[str]
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
    """Write `<output>/<case>.<format>` for each scan; without `overwrite`, what is there is kept.

    Files, records and messages call a scan as `aliases` does, by default after its file or folder.
    """
    called = aliases or known_as({scan: case_name(scan) for scan in scans}, anonymous=False)
    outputs = {scan: Outputs.of(called[scan].name, output, settings) for scan in scans}
    _refuse_collisions((scan, out.labels) for scan, out in outputs.items())
    kept = [scan for scan, out in outputs.items() if out.labels.is_file() and not settings.overwrite]
    todo = [scan for scan in scans if scan not in kept]
    failed: dict[Path, str] = {}
    with progress_bar("Segmenting", len(scans), done=len(kept)) as advance, ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for scan, load in _read_ahead(segmenter, todo):
            write: Callable[[], None]
            try:
                write = _segment(
                    segmenter, scan, load(), outputs[scan], record=manifest.record, alias=called[scan]
                )
            except InputError as error:
                write = partial(_raise, error)
            if writing is not None:
                writing.result()
            writing = writer.submit(_finish, scan, called[scan], write, manifest, failed)
            advance(note=called[scan].name)
        if writing is not None:
            writing.result()
    done = [outputs[scan].labels for scan in todo if scan not in failed]
    bare = [scan for scan in kept if outputs[scan].lacks_volumes]
    return Predicted(tuple(done), tuple(kept), failed, tuple(bare))


def _finish(
    scan: Path, alias: Alias, write: Callable[[], None], manifest: Manifest, failed: dict[Path, str]
) -> None:
    """Write a scan's results, or put down why there are none."""
    try:
        write()
    except InputError as error:
        failed[scan] = alias.clean(str(error))
        manifest.record(alias.name, status="failed", input=alias.shown, error=failed[scan])


def _raise(error: InputError) -> None:
    raise error


def _read_ahead(segmenter: Segmenter, scans: Sequence[Path]) -> Iterator[tuple[Path, Callable[[], _Loaded]]]:
    """Each scan with what gives it, read while the one before is worked on unless memory is limited."""
    if segmenter.memory_gb is not None:
        yield from ((scan, partial(_load, segmenter, scan)) for scan in scans)
        return
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(_load, segmenter, scans[0]) if scans else None
        for index, scan in enumerate(scans):
            assert following is not None
            current = following
            if index + 1 < len(scans):
                following = reader.submit(_load, segmenter, scans[index + 1])
            yield scan, current.result


def _load(segmenter: Segmenter, scan: Path) -> _Loaded:
    clock = Clock()
    with clock.step("read"):
        volume = read_volume(scan, segmenter.reading)
    check_channels(volume, segmenter.modalities, str(scan))
    with clock.step("prepare"):
        prepared = segmenter.prepare(volume)
    warnings = scan_warnings(volume, prepared, segmenter.plans[0], segmenter.modalities)
    return _Loaded(prepared, volume.voxel_mm3, warnings, clock.seconds)


def _segment(
    segmenter: Segmenter, scan: Path, loaded: _Loaded, outputs: Outputs, *, record: _Record, alias: Alias
) -> Callable[[], None]:
    """Run the networks; what is returned writes the results and their record."""
    arrays = outputs.arrays(loaded.prepared.geometry.scan, len(segmenter.labels))
    segmentation = segmenter.segment(loaded.prepared, arrays)
    facts = {
        "input": alias.shown,
        "output": outputs.labels.name,
        "volumes_ml": volumes_ml(arrays.labels, loaded.voxel_mm3, segmenter.labels),
        "confidence": {"soft_dice": segmentation.soft_dice, "agreement": segmentation.agreement},
        "warnings": loaded.warnings,
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
        outputs.write(arrays, scan, segmenter.labels, segmenter.label_values)
    rounded = {name: round(value, 3) for name, value in {**seconds, **clock.seconds}.items()}
    record(seconds=rounded)


def _refuse_collisions(targets: Iterable[tuple[Path, Path]]) -> None:
    taken: dict[Path, Path] = {}
    for scan, target in targets:
        if target in taken or target.resolve() == scan.resolve():
            raise InputError(f"predict.output: {scan} and {taken.get(target, scan)} would both be {target}")
        taken[target] = scan
