"""The same work on many cases, in threads: decompression and numpy leave the interpreter free."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from app.core.progress import progress_bar
from app.core.task import Case

log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


def over_cases(
    title: str, cases: Sequence[Case], work: Callable[[Case], _Result], *, workers: int
) -> dict[str, _Result]:
    """Results by case id, under a bar with that title; the first error stops the rest."""
    if not cases:
        return {}
    results: dict[str, _Result] = {}
    with progress_bar(title, len(cases)) as advance, ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(_timed, title, case, work): case for case in cases}
        try:
            for future in as_completed(futures):
                results[futures[future].id] = future.result()
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {case.id: results[case.id] for case in cases}


def _timed(title: str, case: Case, work: Callable[[Case], _Result]) -> _Result:
    started = time.perf_counter()
    result = work(case)
    log.debug("%s: %s in %.2f s", title, case.id, time.perf_counter() - started)
    return result
