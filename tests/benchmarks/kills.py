"""Kill commands at random moments, let the same command continue, and count what was lost, broken or left.

python -m tests.benchmarks.kills [--count 200] [--seed 0] [--kinds train,search,...] [--output kills.csv]

Every kind of command runs once without interruption. Then it runs in a new folder with an empty cache, gets
SIGKILL, SIGTERM or SIGINT up to three times, and a last command ends it. Whatever is on the disk after a kill
must be readable; training must continue at the last checkpoint at least; the end must equal that of the run
without interruption (all but tune, whose proposals depend on what was answered before); and no process, lock
or temporary file may be left. kills.csv has one row per kill. Linux only.
"""

import argparse
import math
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from app.core.csv_file import write_csv
from app.core.files import read_json
from app.core.lock import LOCK
from app.core.run_folder import LAST, NETWORK, RACE_RECORD, SUMMARY
from app.core.sweep import read_record
from app.models.checkpoint import read_checkpoint
from tests.support.config import TINY
from tests.support.killed import Command, left_running
from tests.support.volumes import write_blobs
from tests.support.whole import broken_files

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 130
_SMALL = ("train.steps=12", "train.epoch_steps=2", "folds=4")
_AGAIN = re.compile(r"resuming at step (\d+) of")
_CASES = 4  # of which one is held out: reports with many pictures take most of the time


@dataclass(frozen=True)
class Kind:
    """A kind of command: its words for a place, and what came out there, to compare."""

    words: Callable[[Path], list[str]]
    outcome: Callable[[Path], Any]


@dataclass(frozen=True)
class Kill:
    """One kill, and what was wrong after it."""

    round: int
    kind: str
    signal: str
    whole: bool
    """Sent to all processes of the command, as a terminal does; else to the first alone."""
    after_cpu_s: float
    exit_code: int
    steps_kept: int | None
    """Those of the last checkpoint after the kill."""
    faults: tuple[str, ...]


def main() -> int:
    """Run the rounds and write the table; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--output", type=Path, default=Path("kills.csv"))
    parser.add_argument("--keep", type=Path, help="folder of the rounds; those with faults stay there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = chosen.keep or Path(scratch)
        kills: list[Kill] = []
        for kill in killed(place, chosen.kinds.split(","), chosen.count, random.Random(chosen.seed)):
            kills.append(kill)
            write_csv(chosen.output, [_row(each) for each in kills])
            print(f"{len(kills)} of {chosen.count}: {kill}", file=sys.stderr, flush=True)
    print(table(kills))
    return int(any(kill.faults for kill in kills))


def killed(place: Path, kinds: Sequence[str], count: int, chance: random.Random) -> Iterator[Kill]:
    """Yield `count` kills, the kinds in turn."""
    write_blobs(place, cases=_CASES)
    whole = {}
    for kind in dict.fromkeys(("train", *kinds)):
        folder = place / "whole" / kind
        command = Command(KINDS[kind].words(folder), folder.with_suffix(".log"))
        command.ends_within(math.inf)
        if command.exit_code() != 0:
            raise RuntimeError("\n".join(command.printed()))
        whole[kind] = (command.cpu_seconds, KINDS[kind].outcome(folder))
        print(f"{kind}: {command.cpu_seconds:.1f} s of a CPU without interruption", file=sys.stderr)
    done = 0
    for number in range(count):
        name = kinds[number % len(kinds)]
        folder = place / f"round-{number:03d}-{name}"
        kills = _round(number, name, folder, *whole[name], most=min(3, count - done), chance=chance)
        done += len(kills)
        yield from kills
        if not any(kill.faults for kill in kills):
            shutil.rmtree(folder)
            folder.with_suffix(".log").unlink()
        if done >= count:
            return


def _round(
    number: int, name: str, folder: Path, seconds: float, wanted: Any, *, most: int, chance: random.Random
) -> list[Kill]:
    """Kill a command up to `most` times, then let it end; `seconds` and `wanted` are those of a whole run."""
    kills: list[Kill] = []
    sessions: list[int] = []
    for _ in range(chance.randint(1, most)):
        sent, whole, moment = chance.choice(SIGNALS), chance.random() < 0.5, chance.uniform(0, 1.1 * seconds)
        before = steps_kept(folder)
        command = Command(KINDS[name].words(folder), folder.with_suffix(".log"))
        sessions.append(command.session)
        if command.ends_within(moment):
            break
        command.kill(sent, whole=whole)
        code, faults = _end(command, sent)
        faults += [*broken_files(folder), *_lost(command.printed(), before)]
        kept = max(steps_kept(folder).values(), default=None)
        kills.append(Kill(number, name, sent.name, whole, round(moment, 2), code, kept, tuple(faults)))
    if kills:
        *others, ended = kills
        faults = _finish(name, folder, sessions, wanted)
        kills = [*others, replace(ended, faults=(*ended.faults, *faults))]
    return kills


def _end(command: Command, sent: signal.Signals) -> tuple[int, list[str]]:
    """Exit code of a command after a signal, and what is wrong with it."""
    try:
        code = command.exit_code()
    except TimeoutError as error:
        return -1, [str(error)]
    return code, _outcome(command.printed(), sent, code)


def _finish(name: str, folder: Path, sessions: Sequence[int], wanted: Any) -> list[str]:
    """Let the same command end; return what is wrong then."""
    before = steps_kept(folder)
    last = Command(KINDS[name].words(folder), folder.with_suffix(".log"))
    try:
        code = last.exit_code()
    except TimeoutError as error:
        return [str(error)]
    faults = [] if code == 0 else [f"the last command ended with {code}: {' '.join(last.printed()[-1:])}"]
    faults += [*_lost(last.printed(), before), *broken_files(folder), *left_behind(folder)]
    faults += [f"left running: {line}" for line in left_running([*sessions, last.session])]
    if not faults and (ended := KINDS[name].outcome(folder)) != wanted:
        parts = [key for key in wanted if ended.get(key) != wanted[key]] if isinstance(wanted, dict) else []
        faults.append(f"its end is not that of a run without interruption: {parts}")
    return faults


def _outcome(lines: Sequence[str], sent: signal.Signals, code: int) -> list[str]:
    """Whether a command that was asked to end did so in words, with code 130, or had just ended."""
    faults = ["a traceback"] if any(line.startswith("Traceback") for line in lines) else []
    wanted = (-sent,) if sent == signal.SIGKILL else (INTERRUPTED, 0)
    return faults if code in (*wanted, 0) else [*faults, f"exit code {code}: {' '.join(lines[-1:])}"]


def steps_kept(folder: Path) -> dict[Path, int]:
    """Steps of all checkpoints at or below a folder that a training continues from: a race leaves weights."""
    states = {path: read_checkpoint(path).training for path in folder.rglob(LAST)}
    return {path: int(state["step"]) for path, state in states.items() if state}


def _lost(lines: Sequence[str], kept: dict[Path, int]) -> list[str]:
    """Whether a command that continues one training began before its checkpoint."""
    begun = [int(found[1]) for line in lines if (found := _AGAIN.search(line))]
    if len(kept) != 1 or not begun:
        return []
    step = max(kept.values())
    return [] if begun[0] >= step else [f"continued at step {begun[0]}, the checkpoint was from {step}"]


def left_behind(folder: Path) -> list[str]:
    """Return locks and temporary files at or below a folder."""
    found = [path for path in folder.rglob("*") if path.name == LOCK or path.name.startswith(".")]
    return [f"left behind: {path.relative_to(folder)}" for path in sorted(found)]


def _row(kill: Kill) -> dict[str, Any]:
    return {**asdict(kill), "faults": "; ".join(kill.faults)}


def table(kills: Sequence[Kill]) -> str:
    """Return the counts of kills by kind and signal, and every fault, as text."""
    counts = Counter((kill.kind, kill.signal) for kill in kills)
    lines = [f"{'kind':10}{''.join(f'{number.name:>10}' for number in SIGNALS)}{'faults':>10}"]
    for kind in dict.fromkeys(kill.kind for kill in kills):
        faults = sum(bool(kill.faults) for kill in kills if kill.kind == kind)
        lines.append(f"{kind:10}{''.join(f'{counts[kind, n.name]:10}' for n in SIGNALS)}{faults:10}")
    return "\n".join(
        [*lines, *(f"{kill.round} {kill.kind}: {fault}" for kill in kills for fault in kill.faults)]
    )


def _training(place: Path, plan: str | None, *words: str) -> list[str]:
    """Words of a small training, with the plan of another kind's run: measuring memory takes seconds."""
    root = place.parents[_depth(place)]
    planned = () if plan is None else (f"plan.file={root / 'whole' / plan / 'run' / 'plan.yaml'}",)
    places = (f"task.folder={root / 'Task90_Blobs'}", f"paths.cache={place / 'cache'}")
    return [*words, *TINY, *_SMALL, *places, *planned]


def _depth(place: Path) -> int:
    return 1 if place.parent.name == "whole" else 0


def _single(*words: str, plan: str | None = None) -> Callable[[Path], list[str]]:
    """Words of a run that resumes by itself."""
    return lambda place: _training(place, plan, *words, f"paths.run={place / 'run'}", "train.resume=auto")


def _several(*words: str) -> Callable[[Path], list[str]]:
    return lambda place: _training(place, "train", *words, f"paths.sweep={place / 'sweep'}")


def _prediction(place: Path) -> list[str]:
    root = place.parents[_depth(place)]
    return [
        *("mode=predict", f"predict.model={root / 'whole' / 'train' / 'run'}", "threads=1"),
        *(f"predict.input={root / 'Task90_Blobs' / 'imagesTr'}", f"predict.output={place / 'out'}"),
    ]


def _trained(place: Path) -> Any:
    """Weights and scores of every run at or below a folder, by its path."""
    return {
        str(path.parent.relative_to(place)): (
            read_checkpoint(path).digest,
            read_json(path.parent / SUMMARY)["mean_dice"] if (path.parent / SUMMARY).exists() else None,
        )
        for path in sorted(place.rglob(LAST))
    }


def _searched(place: Path) -> Any:
    """Return the network that was found, its weights, and the losses of all that raced."""
    run = place / "run"
    rungs = read_json(run / RACE_RECORD)["rungs"]
    return {
        "network": yaml.safe_load((run / NETWORK).read_text()),
        "weights": read_checkpoint(run / LAST).digest,
        "losses": [[(entry["number"], entry["loss"]) for entry in entries] for entries in rungs],
    }


def _swept(place: Path) -> Any:
    return _trained(place), _states(place)


def _states(place: Path) -> Any:
    folders = [path for path in sorted((place / "sweep").iterdir()) if path.is_dir()]
    return {path.name: record.state for path in folders if (record := read_record(path))}


def _predicted(place: Path) -> Any:
    cases = read_json(place / "out" / "manifest.json")["cases"]
    return {
        name: (facts["status"], facts["volumes_ml"], (place / "out" / facts["output"]).read_bytes())
        for name, facts in cases.items()
    }


_TUNED = ("mode=tune", "~tune.space.plan", "tune.space.op=[conv3d,p3d]", "tune.trials=2")
KINDS = {
    "train": Kind(_single(), _trained),
    "stages": Kind(_single("plan.stages=2"), _trained),
    "search": Kind(_single("mode=search", plan="train"), _searched),
    "sweep": Kind(_several("--multirun", "seed=0,1"), _swept),
    "cores": Kind(_several("--multirun", "seed=0,1", "hydra/launcher=cores"), _swept),
    "tune": Kind(_several(*_TUNED), _states),
    "predict": Kind(_prediction, _predicted),
}
"""Commands that are killed. `stages` is a training in two stages, `cores` a sweep with two workers."""


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
