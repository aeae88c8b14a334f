"""The trainings of a ranking and its judges as jobs of processes, a module that spawned processes import."""

import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from time import process_time
from typing import Any

import torch

from tests.benchmarks.ranking.bench import Asked, open_bench
from tests.benchmarks.ranking.judges import JUDGES, WEIGHTS
from tests.benchmarks.ranking.layouts import Candidate
from tests.benchmarks.ranking.table import TRAINED

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """A layout and a seed to train, a judge, or a super-network."""

    kind: str
    """TRAINED, the name of a judge, or the weights of a super-network."""
    layout: int | None = None
    seed: int = 0


def results(
    asked: Asked, candidates: Sequence[Candidate], jobs: Sequence[Job], workers: int
) -> Iterable[Rows]:
    """Yield the rows of each job as it ends."""
    do = partial(work, asked, candidates)
    if workers == 1:
        yield from map(do, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: list[Future[Rows]] = [pool.submit(do, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def work(asked: Asked, candidates: Sequence[Candidate], job: Job) -> Rows:
    """Do one job on one thread and return its rows."""
    torch.set_num_threads(1)
    bench = open_bench(asked)
    bench.earlier_seconds, started = 0.0, process_time()
    if job.kind == TRAINED:
        (one,) = [one for one in candidates if one.number == job.layout]
        network = bench.fresh(one.spec(bench.dense), job.seed)
        network = bench.fit(network, bench.training, steps=asked.steps, seed=job.seed, averaged=True)
        seconds = process_time() - started
        loss, dice = bench.loss(network, bench.held_out), bench.dice(network)
        return [_row(TRAINED, one, job.seed, loss, dice, seconds)]
    if job.kind in WEIGHTS.values():
        bench.super_network(job.kind)
        return []
    losses = JUDGES[job.kind](bench, candidates)
    seconds = (process_time() - started + bench.earlier_seconds) / len(candidates)
    return [_row(job.kind, one, 0, loss, None, seconds) for one, loss in zip(candidates, losses, strict=True)]


def _row(
    judge: str, one: Candidate, seed: int, loss: float, dice: float | None, seconds: float
) -> dict[str, Any]:
    return {
        **{"judge": judge, "layout": one.number, "seed": seed, "loss": round(loss, 6)},
        **{"dice": None if dice is None else round(dice, 5), "seconds": round(seconds, 2)},
        **{"macs": one.cost.macs, "params": one.cost.params, "widths": " ".join(map(str, one.widths))},
        "digest": one.digest,
    }
