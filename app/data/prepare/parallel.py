"""The same work on many cases, in threads: decompression and NumPy release Python's interpreter lock."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from app.core.errors import InputError, noting
from app.core.machine import memory_bytes
from app.core.progress import progress_bar
from app.core.reading import Reading
from app.core.task import Case
from app.data.prepare.case_errors import naming
from app.io.volumes import read_header

_COPIES = 5  # copies of a scan in single precision held at once: 512x512x600 voxels take 3 GB to prepare
_FLOAT_BYTES = 4
_SHARE = 0.7  # share of the machine's memory that all workers may take together

log = logging.getLogger(__name__)
_Case = TypeVar("_Case")
_Result = TypeVar("_Result")


def over_cases(
    title: str, cases: Sequence[Case], work: Callable[[Case], _Result], *, workers: int, reading: Reading
) -> dict[str, _Result]:
    """Return the results of `work` by case id, with a progress bar of that title.

    The first error cancels the remaining cases; its message names the case. Fewer workers run if that many of
    the largest scan, read with `reading`, would not fit into memory together.

    Raises:
        InputError: raised by `work`, or there was not enough memory for a case.
    """
    if not cases:
        return {}
    results: dict[str, _Result] = {}
    with (
        progress_bar(title, len(cases)) as advance,
        ThreadPoolExecutor(fitting_workers(cases, workers, reading)) as pool,
    ):
        futures = {pool.submit(_timed, title, case, work): case for case in cases}
        try:
            for future in as_completed(futures):
                results[futures[future].id] = future.result()
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {case.id: results[case.id] for case in cases}


def spread(cases: Sequence[_Case], count: int | None) -> Sequence[_Case]:
    """Return `count` of the cases, spread evenly over all; None returns all."""
    if count is None or count >= len(cases):
        return cases
    return [cases[index * len(cases) // count] for index in range(count)]


def fitting_workers(cases: Sequence[Case], workers: int, reading: Reading) -> int:
    """Return the number of workers, from 1 to `workers`, for which the largest scan fits into memory."""
    each = _COPIES * _FLOAT_BYTES * max(_voxels(case, reading) for case in cases)
    return max(1, min(workers, int(_SHARE * memory_bytes() / max(each, 1))))


def _timed(title: str, case: Case, work: Callable[[Case], _Result]) -> _Result:
    started = time.perf_counter()
    try:
        with noting(f"{title}: case {case.id}, {case.image}"), naming(case):
            result = work(case)
    except MemoryError:
        raise InputError(f"case {case.id}: {title.lower()}: out of memory; {case.image}") from None
    log.debug("%s: %s in %.2f s", title, case.id, time.perf_counter() - started)
    return result


def _voxels(case: Case, reading: Reading) -> int:
    """Return the voxels of all channels; 0 for an unreadable file, for which `work` raises the error."""
    try:
        header = read_header(case.image, reading)
    except InputError:
        return 0
    return math.prod(header.size) * header.channels
