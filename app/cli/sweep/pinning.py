"""Separate cores for each worker process of one machine."""

import re
from collections.abc import Sequence
from functools import cache
from multiprocessing import current_process
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from app.core.machine import keep_to_cores, usable_cores


class PinCores(Callback):
    """A callback that gives joblib's worker processes equal shares of the cores.

    Other processes are not changed.
    """

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Restrict the process to its share; PyTorch then uses as many threads."""
        worker = re.fullmatch(r"LokyProcess-(\d+)", current_process().name)
        if worker is None:
            return
        cores = first_cores()
        workers = int(config.hydra.launcher.n_jobs)
        if 1 < workers <= len(cores):
            keep_to_cores(share(cores, int(worker.group(1)) - 1, workers))


def cores_per_job(config: DictConfig) -> int:
    """Return how many of this process's cores each job of a launcher has, which joblib divides equally."""
    cores, workers = len(usable_cores()), int(config.hydra.launcher.get("n_jobs") or 1)
    if workers < 0:  # joblib: -1 for one job per core, -2 for one less
        workers = cores + 1 + workers
    return max(1, cores // max(1, workers))


@cache
def first_cores() -> tuple[int, ...]:
    """Return the cores that this process started with, even after an earlier job of it was restricted."""
    return usable_cores()


def share(cores: Sequence[int], worker: int, workers: int) -> Sequence[int]:
    """Return the cores of one of `workers`; a worker that replaces a dead one takes over its share."""
    size = len(cores) // workers
    first = worker % workers * size
    return cores[first : first + size]
