"""Whether the program meets a damaged file with a result or with one clear line.

Files are read in a process of their own, so that one that hangs or ends that process is a fault like others.
"""

import logging
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np

from app.core.errors import InputError
from app.core.plan import Normalisation, Plan
from app.core.reading import Reading
from app.core.task import Case, Task
from app.data.doctor.check import check_task
from app.data.doctor.examine import examine
from app.data.sets.decathlon import read_task
from app.infer.batch.scans import find_scans
from app.infer.scan.segmenter import Segmenter
from app.infer.scan.warnings import scan_warnings
from app.infer.window.sliding import SlidingSettings
from app.io.dicom_labels import holds_labels
from app.io.header_warnings import header_warnings
from app.io.privacy import known_as
from app.io.references import read_reference_map
from app.io.volumes import Volume, read_header, read_volume, write_label_map
from tests.support.sound import AFFINE, NAMES, Sound, a_scan

HANGS = 10.0  # seconds of the processor
_DEAD = 60.0  # seconds on the clock: other programs may keep the processor busy
_TIMES = 10  # of the decompressed bytes that may be allocated
_ALWAYS = 128 * 2**20  # bytes of address space that libraries and threads take whatever the size of a file
_LONGEST = 2000  # characters of a message
_MAPPED = "of address space"
_READING = Reading(modalities=("CT",))
_TASK = Task("Task", ("CT",), NAMES, ())
_Found = TypeVar("_Found")


@dataclass
class Verdict:
    """What became of one file: how many steps gave a result or a line, and what must not happen."""

    results: int = 0
    refusals: int = 0
    faults: list[str] = field(default_factory=list)

    def attempt(self, step: Callable[[], _Found]) -> _Found | None:
        """Take one step; None if the file is refused, in one line of reasonable length."""
        try:
            found = step()
        except InputError as error:
            self.refusals += 1
            text = str(error)
            if "\n" in text or len(text) > _LONGEST or not text:
                self.faults.append(f"a message of {len(text)} characters: {text[:300]!r}")
            return None
        except Exception as error:
            self.faults.append("".join(traceback.format_exception(error)[-6:]))
            return None
        self.results += 1
        return found


class Judge:
    """A process that reads files; it is replaced if it hangs, ends, or has taken too much memory."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> "Judge":
        """Return itself; the process starts with the first file."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._end()

    def __call__(self, path: Path, role: str, allowed: int) -> Verdict:
        """Read the file as `role` says; `allowed` bytes may be allocated for it."""
        if self._pipe is None:
            self._pipe, theirs = self._context.Pipe()
            self._process = self._context.Process(target=serve, args=(theirs,), daemon=True)
            with mock.patch.dict(os.environ, MALLOC_ARENA_MAX="1", ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS="1"):
                self._process.start()
            theirs.close()
            self._pipe.send(None)
            self._pipe.recv()  # imports are no part of the time
        self._pipe.send((path, role, allowed))
        try:
            if self._pipe.poll(_DEAD):
                verdict: Verdict = self._pipe.recv()
                if any(_MAPPED in told for told in verdict.faults):  # which hides what is taken later
                    self._end()
                return verdict
            told = f"nothing for {_DEAD:g} s"
        except EOFError:
            self._process.join()
            told = f"the process ended with {self._process.exitcode}"
        self._end()
        return Verdict(faults=[told])

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None


def serve(pipe: Connection) -> None:
    """Judge files until the other end closes; log lines of the program itself are no fault."""
    logging.getLogger("app").addHandler(logging.NullHandler())
    logging.getLogger("app").propagate = False
    with tempfile.TemporaryFile() as printed:
        for stream in (1, 2):
            os.dup2(printed.fileno(), stream)
        while True:
            try:
                job = pipe.recv()
            except EOFError:
                return
            if job is None:
                pipe.send(None)
                continue
            path, role, allowed = job
            verdict = Verdict()
            with _measured(verdict, allowed):
                _ROLES[role](verdict, path)
            sys.stdout.flush()
            sys.stderr.flush()
            printed.seek(0)
            lines = printed.read().decode(errors="replace").splitlines()
            if lines:
                verdict.faults.append("printed: " + "\n".join(lines)[:500])
            printed.seek(0)
            printed.truncate()
            pipe.send(verdict)


@contextmanager
def _measured(verdict: Verdict, allowed: int) -> Iterator[None]:
    before, started = _address_space()[0], time.process_time()
    yield
    seconds = time.process_time() - started
    if seconds > HANGS:
        verdict.faults.append(f"{seconds:.1f} s of the processor")
    mapped = _address_space()[1] - before
    if mapped > allowed + _ALWAYS:
        verdict.faults.append(f"{mapped / 1e6:.0f} MB {_MAPPED}, {allowed / 1e6:.2f} MB allowed")


def _address_space() -> tuple[int, int]:
    """Bytes that are mapped now and that were at most, on Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0, 0
    found = dict(re.findall(r"^(Vm\w+):\s+(\d+) kB", status.read_text(encoding="utf-8"), re.MULTILINE))
    return int(found["VmSize"]) * 1024, int(found["VmPeak"]) * 1024


def _scan(verdict: Verdict, path: Path) -> None:
    """Take a scan through what checks, plans and predictions do with it before a network runs."""
    where = path.parent
    verdict.attempt(lambda: find_scans([where], where / "out", _READING))
    verdict.attempt(lambda: read_header(path, _READING))
    verdict.attempt(lambda: header_warnings(path, _READING))
    verdict.attempt(lambda: known_as({path: "a"}, anonymous=True))
    verdict.attempt(lambda: examine(Case("a", path, path), _TASK))
    volume = verdict.attempt(lambda: read_volume(path, _READING))
    if volume is None:
        return
    segmenter = _segmenter(len(volume.voxels))
    prepared = verdict.attempt(lambda: segmenter.prepare(volume))
    if prepared is not None:
        verdict.attempt(lambda: scan_warnings(volume, prepared, segmenter.plans[0], segmenter.modalities))
    classes = np.zeros(volume.voxels.shape[1:], dtype=np.uint8)
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        written = where / "out" / f"a{suffix}"
        verdict.attempt(lambda: write_label_map(written, classes, range(3), path, _READING))  # noqa: B023


def _segmenter(channels: int) -> Segmenter:
    """Without networks: what prepares scans."""
    plan = Plan(
        spacing=(4.0, 2.0, 2.0),
        patch=(8, 8, 8),
        batch=1,
        widths=(4,),
        strides=((1, 1, 1),),
        kernels=((3, 3, 3),),
        normalisation=(Normalisation("zscore"),) * channels,
        foreground_share=0.5,
        steps=1,
    )
    names = tuple(f"c{number}" for number in range(channels))
    return Segmenter((), (plan,), names, NAMES, SlidingSettings(0.5, 1, ()), memory_gb=1.0)


def _labels(verdict: Verdict, path: Path) -> None:
    like = Volume(AFFINE, a_scan()[np.newaxis].astype(np.float32))
    verdict.attempt(lambda: holds_labels(path))
    verdict.attempt(lambda: read_reference_map(path, NAMES, range(3), like))


def _set(verdict: Verdict, path: Path) -> None:
    task = verdict.attempt(lambda: read_task(path))
    if task is not None:
        verdict.attempt(lambda: check_task(task, None, workers=1))


_ROLES = {"scan": _scan, "labels": _labels, "set": _set}


@dataclass(frozen=True)
class Fault:
    """A damaged file that is met as it must not be."""

    sound: str
    seed: int
    told: str


@dataclass
class Tally:
    """What a run has seen."""

    files: int = 0
    read: int = 0
    faults: list[Fault] = field(default_factory=list)
    slowest: float = 0.0


def damaged(sound: Sound, seed: int) -> dict[str, bytes]:
    """One or, of a series, up to two files of a sound input with damage that follows from `seed`."""
    rng = np.random.default_rng(seed)
    names = list(sound.damage)
    chosen = rng.choice(len(names), size=min(len(names), int(rng.integers(1, 3))), replace=False)
    return {names[at]: sound.damage[names[at]](sound.files[names[at]], rng) for at in chosen}


def fuzz(
    sounds: list[Sound], folder: Path, *, first: int, seconds: float | None = None, files: int | None = None
) -> Tally:
    """Judge damaged files by rising seed until the time or their number is reached; keep those at fault."""
    tally, ends = Tally(), time.monotonic() + (seconds or float("inf"))
    with Judge() as judge:
        for seed in range(first, first + (files or 2**31)):
            if time.monotonic() > ends:
                break
            sound = sounds[seed % len(sounds)]
            place = folder / f"{seed}"
            path = sound.write(place, damaged(sound, seed))
            started = time.monotonic()
            verdict = judge(path, sound.role, _TIMES * sound.bytes)
            tally.slowest = max(tally.slowest, time.monotonic() - started)
            tally.files += 1
            tally.read += verdict.refusals == 0
            tally.faults += [Fault(sound.name, seed, told) for told in verdict.faults]
            if not verdict.faults:
                shutil.rmtree(place)
    return tally
