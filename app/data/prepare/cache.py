"""Prepared cases on disk: memory-mapped arrays, keyed by content and settings, shared by all runs.

The folder of a case is written under a temporary name and then renamed, so it is never seen incomplete. Two
runs may prepare the same case at once: the first to finish keeps its folder, the other drops its copy.

Arrays are .npy files, large ones in bricks, and are mapped: a patch reads only its bricks, and nothing
is decompressed. Compressed formats take less disk space; tests/benchmarks/cache_formats.py compares the time
to read a patch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from app.core.digest import digest_of, digest_of_file
from app.core.errors import InputError
from app.core.files import read_json, write_json, writing
from app.core.plan import Plan
from app.core.task import Case, Task
from app.core.temporary import temporary_folder
from app.core.types import Spacing
from app.data.prepare.bricks import stored_image, to_bricks
from app.data.prepare.cache_list import SETTINGS
from app.data.prepare.cached_case import REGION, CachedCase
from app.data.prepare.case_errors import reading_only
from app.data.prepare.disk import make_room
from app.data.prepare.foreground import foreground_index
from app.data.prepare.geometry import part_of_grid
from app.data.prepare.parallel import over_cases, spread
from app.data.prepare.prepare import prepare, read_case
from app.data.prepare.region import BEYOND, labelled_crop, training_regions
from app.data.prepare.scratch import copy_to
from app.io.dicom_labels import holds_labels
from app.io.scan_paths import scan_files

_Result = TypeVar("_Result")
FORMAT = 4  # raised whenever preparing changes, so that entries of older versions are not used


class Cache:
    """The cache of one task under `folder`."""

    def __init__(self, folder: Path, task: Task, *, workers: int, scratch: Path | None = None) -> None:
        """Set up the cache of a task below `folder`; `workers` threads prepare cases.

        Prepared cases are copied to `scratch` and read from there; None reads them from `folder`.
        """
        self._scratch = scratch
        self._folder = folder / task.name
        self._task = task
        self._workers = workers
        self._contents: dict[str, str] = {}  # digests by case id

    @property
    def speeds(self) -> Path:
        """File with the measured seconds of training steps on this machine, shared by all tasks."""
        return self._folder.parent / "speeds.json"

    def data_hash(self) -> str:
        """Return a SHA-256 over ids and contents of all cases, and the task's labels and modalities."""
        self._digest_files()
        listed = list(self._contents.items())
        ignored = [] if self._task.ignore is None else [self._task.ignore]
        order = self._task.reading.words  # empty for the usual order, so that earlier caches stay valid
        partial = {case.id: case.annotated for case in self._task.cases if case.annotated is not None}
        more = [*ignored, *order, *([partial] if partial else [])]
        more += self._odd_values()
        more += [labels] if (labels := self._file_labels()) else []
        return digest_of([self._task.labels, self._task.modalities, listed, *more])

    def digests(self) -> dict[str, str]:
        """Return, by case id, the first 16 digits of a SHA-256 over the contents of the case's files."""
        self._digest_files()
        return {case: content[:16] for case, content in self._contents.items()}

    def remember(self, name: str, version: int, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of `make`, which is stored as JSON and made once per content and `version`."""
        path = self._folder / f"{name}-{digest_of([version, self.data_hash()])[:16]}.json"
        if not path.is_file():
            write_json(path, make())
        found: dict[str, Any] = read_json(path)
        return found

    def over_cases(
        self, title: str, work: Callable[[Case, Task], _Result], *, most: int | None = None
    ) -> list[_Result]:
        """Return the results of `work` on each case, in the order of the cases, with a progress bar.

        With `most`, only that many cases are used, spread evenly over all.
        """
        cases = spread(self._task.cases, most)
        found = over_cases(
            title,
            cases,
            lambda case: work(case, self._task),
            workers=self._workers,
            reading=self._task.reading,
        )
        return list(found.values())

    def check_space(self, plan: Plan, share: float) -> None:
        """Check and log the disk space that preparing a `share` of each scan will take.

        Raises:
            InputError: the disk has less free space.
        """
        make_room(self._folder, self._task.cases, plan, self._task, share=share)

    def prepare(
        self, plan: Plan, margin_mm: Spacing | None = None, *, share: float = 1.0
    ) -> dict[str, CachedCase]:
        """Return every case of the task by id, prepared as planned; only missing cases are computed.

        With `margin_mm` (D, H, W), only the region around the labels is prepared, larger than a first stage
        would find it. `share` is the expected share of a scan's voxels in it.

        Raises:
            InputError: a case is unreadable, the disk is full, or a prepared case is damaged.
        """
        cached = self.fill(plan, margin_mm, share=share)
        if self._scratch is not None:
            copies = copy_to(self._scratch, [case.folder for case in cached.values()])
            pairs = zip(cached.values(), copies, strict=True)
            cached = {case.id: CachedCase(case.id, copy) for case, copy in pairs}
        for case in cached.values():
            case.check()
        return cached

    def fill(
        self,
        plan: Plan,
        margin_mm: Spacing | None = None,
        mine: Callable[[Sequence[Case]], Sequence[Case]] = tuple,
        *,
        share: float = 1.0,
    ) -> dict[str, CachedCase]:
        """Prepare the cases that `mine` chooses, and return all cases by id.

        Returned cases that `mine` did not choose may be missing on disk. Other arguments are as in `prepare`.
        """
        settings = {
            "format": FORMAT,
            "spacing": plan.spacing,
            "normalisation": plan.to_dict()["normalisation"],
            **({} if self._task.ignore is None else {"ignore": self._task.ignore}),
            **({"values": values} if (values := self._odd_values()) else {}),
            **({"labels": labels} if (labels := self._file_labels()) else {}),
            **({"channels": words} if (words := self._task.reading.words) else {}),
            **({"names": self._task.labels} if self._named_labels() else {}),
            **({} if margin_mm is None else {"margin_mm": margin_mm, "patch": plan.patch, "beyond": BEYOND}),
        }
        folder = self._folder / digest_of(settings)[:16]
        cached = {
            case: CachedCase(case, folder / f"{case}-{digest}") for case, digest in self.digests().items()
        }
        missing = [case for case in mine(self._task.cases) if not cached[case.id].folder.is_dir()]
        make_room(self._folder, missing, plan, self._task, share=share)
        try:
            over_cases(
                "Preparing cases",
                missing,
                lambda case: self._store(case, plan, margin_mm, cached[case.id].folder),
                workers=self._workers,
                reading=self._task.reading,
            )
        finally:
            if folder.is_dir() and any(folder.iterdir()):
                write_json(folder / SETTINGS, settings)
        return cached

    def _store(self, case: Case, plan: Plan, margin_mm: Spacing | None, folder: Path) -> None:
        volume, label_map = read_case(case, self._task)
        ignore = self._task.ignore
        regions = None
        if margin_mm is None:
            region = labelled_crop(volume, label_map, ignore=ignore)
        else:
            regions = training_regions(volume, label_map, plan, margin_mm, ignore=ignore)
            region = None if regions is None else regions[1]
        prepared = prepare(volume, label_map, plan, region)
        assert prepared.labels is not None
        try:
            with writing(folder), temporary_folder(folder) as temporary:
                np.save(temporary / "image.npy", to_bricks(stored_image(prepared.image)))
                np.save(temporary / "labels.npy", to_bricks(prepared.labels[np.newaxis]))
                np.save(temporary / "foreground.npy", foreground_index(prepared.labels, ignore))
                write_json(temporary / "geometry.json", prepared.geometry.to_dict())
                if regions is not None:
                    write_json(temporary / REGION, asdict(part_of_grid(regions[0], prepared.geometry)))
                temporary.rename(folder)
        except (InputError, OSError):
            if not folder.is_dir():
                raise

    def _file_labels(self) -> Any:
        """Return the labels in files if they are not the task's, for several folders as a list."""
        found = [part.file_labels.to_dict() for part in self._task.parts if part.file_labels is not None]
        return found[0] if len(found) == 1 else found

    def _odd_values(self) -> tuple[int, ...]:
        """Return the label values if they differ from the classes or do not fit into a byte, else ()."""
        values = self._task.label_values
        return self._task.values or (values if len(values) > 256 else ())

    def _named_labels(self) -> bool:
        """Return whether a reference is of DICOM, whose labels are found by their names."""
        labels = (case.label for case in self._task.cases)
        return any(label is not None and holds_labels(label) for label in labels)

    def _digest_files(self) -> None:
        """Hash every file once; later runs recognise it by its size and modification time.

        The record has digests of paths, because a path may name a patient.
        """
        if self._contents:
            return
        memo_path = self._folder / "digests.json"
        memo: dict[str, list[Any]] = read_json(memo_path) if memo_path.is_file() else {}
        known: dict[str, list[Any]] = {}
        contents: dict[str, str] = {}
        for case in self._task.cases:
            with reading_only(case):
                contents[case.id] = digest_of([_digested(path, memo, known) for path in _files(case)])
        self._contents = contents
        if known != memo:
            write_json(memo_path, known)


def _digested(path: Path, memo: Mapping[str, list[Any]], known: dict[str, list[Any]]) -> str:
    """Return the digest of a file, which is added to `known` and taken from `memo` if it has not changed."""
    key = digest_of(str(path))
    if key not in known:
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        entry = memo.get(key) or memo.get(str(path), [])  # older records have the path itself
        known[key] = entry if entry[:2] == stamp else [*stamp, digest_of_file(path)]
    return str(known[key][2])


def _files(case: Case) -> list[Path]:
    return [file for path in (case.image, case.label) if path is not None for file in scan_files(path)]
