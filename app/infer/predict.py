"""Scans in, label maps out, each in its scan's own geometry; one bad scan does not stop the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import InputError
from app.core.progress import progress_bar
from app.data.volume_io import SUFFIXES, case_name, write_label_map
from app.infer.segmenter import Segmenter


@dataclass(frozen=True)
class Predicted:
    """What became of the scans: label maps written, kept from before, and errors by scan."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    failed: dict[Path, str]


def list_scans(source: Path) -> list[Path]:
    """A scan itself, or the scans directly in a folder, hidden files left out.

    Raises:
        InputError: no such file or folder, or no scan in it.
    """
    if source.is_file():
        case_name(source)
        return [source]
    if not source.is_dir():
        raise InputError(f"predict.input: {source}: no such file or folder")
    scans = sorted(
        path for path in source.iterdir() if path.name.endswith(SUFFIXES) and not path.name.startswith(".")
    )
    if not scans:
        raise InputError(f"predict.input: {source}: got no scan in it, wanted files {', '.join(SUFFIXES)}")
    return scans


def predict_scans(segmenter: Segmenter, scans: Sequence[Path], output: Path, *, overwrite: bool) -> Predicted:
    """Write `<output>/<case>.nii.gz` for each scan; without `overwrite`, what is there is kept."""
    targets = {scan: output / f"{case_name(scan)}.nii.gz" for scan in scans}
    _refuse_collisions(targets.items())
    kept = [target for target in targets.values() if target.is_file() and not overwrite]
    written: list[Path] = []
    failed: dict[Path, str] = {}
    with progress_bar("Segmenting", len(scans), done=len(kept)) as advance:
        for scan, target in targets.items():
            if target in kept:
                continue
            try:
                write_label_map(target, segmenter.segment_file(scan), like=scan)
                written.append(target)
            except InputError as error:
                failed[scan] = str(error)
            advance(note=scan.name)
    return Predicted(tuple(written), tuple(kept), failed)


def _refuse_collisions(targets: Iterable[tuple[Path, Path]]) -> None:
    taken: dict[Path, Path] = {}
    for scan, target in targets:
        if target in taken or target.resolve() == scan.resolve():
            raise InputError(f"predict.output: {scan} and {taken.get(target, scan)} would both be {target}")
        taken[target] = scan
