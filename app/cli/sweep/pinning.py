"""Side by side on one machine: each worker process keeps to cores of its own."""

import re
from collections.abc import Sequence
from functools import cache
from multiprocessing import current_process
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from app.core.machine import keep_to_cores, usable_cores


class PinCores(Callback):
    """Gives the processes of joblib's launcher equal shares of the cores; others are left alone."""

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Keep the process to its share; torch then takes as many threads."""
        worker = re.fullmatch(r"LokyProcess-(\d+)", current_process().name)
        if worker is None:
            return
        cores = first_cores()
        workers = int(config.hydra.launcher.n_jobs)
        if 1 < workers <= len(cores):
            keep_to_cores(share(cores, int(worker.group(1)) - 1, workers))


@cache
def first_cores() -> tuple[int, ...]:
    """The cores this process began with; a worker has several jobs, and the first has pinned it already."""
    return usable_cores()


def share(cores: Sequence[int], worker: int, workers: int) -> Sequence[int]:
    """The cores of one of `workers`; a worker that took the place of a dead one takes its share too."""
    size = len(cores) // workers
    first = worker % workers * size
    return cores[first : first + size]
