"""Milliseconds of a window and peak memory of every installed engine, for one or several trained networks.

python -m tests.benchmarks.engines <run folder> [<run folder> ...] [--engines torch ...] [--threads 1]
Each engine has a process of its own and runs windows of the run's patch. CPU ms are those of all threads:
with one thread and an idle machine the two times are one. `difference` is the largest of its logits to
those in double precision.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from app.core.errors import InputError
from app.core.machine import peak_bytes
from app.infer.engines import ENGINES, find_engine, missing_packages
from app.infer.engines.engine import Engine
from app.infer.engines.parity import exact_logits
from app.infer.scan.run_models import read_members

_MOST_SECONDS = 300
_CPU = torch.device("cpu")


def main() -> None:
    """Measure every engine on every run; one table, and the engine of the least CPU time for each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--measure", choices=list(ENGINES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.runs[0], options.measure, options.threads, options.passes)))
        return
    installed = [name for name in options.engines if not missing_packages(name)]
    table = Table("run", "engine", "ms a window", "CPU ms", "peak MB", "difference")
    for run in options.runs:
        found = {name: _in_own_process(run, name, options) for name in installed}
        for name, facts in found.items():
            table.add_row(run.name, name, *_row(facts))
        ran = [name for name in found if "ms" in found[name]]
        fastest = min(ran, key=lambda name: found[name]["cpu"], default="none")
        table.add_row(run.name, f"fastest: {fastest}", end_section=True)
    Console(width=110).print(table)
    absent = [name for name in ENGINES if missing_packages(name)]
    print(
        f"not installed: {', '.join(absent) or 'none'}; torch {torch.__version__}, threads {options.threads}"
    )


def measure(run: Path, name: str, threads: int, passes: int) -> dict[str, Any]:
    """One engine in this process; why it is left out where it cannot run."""
    torch.set_num_threads(threads)
    (member,) = read_members([run], "last")
    size = (len(member.checkpoint.modalities), *member.checkpoint.plan.patch)
    windows = torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
    try:
        engine = find_engine(name, _CPU)(member)
    except InputError as error:
        return {"left_out": str(error).split(";")[0]}
    logits = engine(windows).clone()
    wall, cpu = zip(*(_seconds(engine, windows) for _ in range(passes)), strict=True)
    peak_mb = peak_bytes() / 1e6
    difference = float((logits - exact_logits(member.checkpoint, windows)).abs().max())
    return {"ms": 1000 * median(wall), "cpu": 1000 * median(cpu), "mb": peak_mb, "off": difference}


def _seconds(engine: Engine, windows: torch.Tensor) -> tuple[float, float]:
    started, cpu = time.perf_counter(), time.process_time()
    engine(windows)
    return time.perf_counter() - started, time.process_time() - cpu


def _row(facts: dict[str, Any]) -> list[str]:
    if "left_out" in facts:
        return [facts["left_out"]]
    return [f"{facts['ms']:.1f}", f"{facts['cpu']:.1f}", f"{facts['mb']:.0f}", f"{facts['off']:.1e}"]


def _in_own_process(run: Path, name: str, options: argparse.Namespace) -> dict[str, Any]:
    limits = ["--threads", str(options.threads), "--passes", str(options.passes)]
    command = [sys.executable, "-m", "tests.benchmarks.engines", str(run), "--measure", name, *limits]
    try:
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, encoding="utf-8", timeout=_MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"left_out": f"took more than {_MOST_SECONDS} s"}
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


if __name__ == "__main__":
    main()
