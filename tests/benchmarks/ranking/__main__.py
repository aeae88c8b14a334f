"""Which judge ranks layouts of equal cost as training them does?

    python -m tests.benchmarks.ranking runs/ranking/hippocampus.csv hippocampus paths.data=<folder>
    python -m tests.benchmarks.ranking runs/ranking/acdc.csv data/Task60_ACDC --workers 2 search.kernels=123d

The second argument is a task of conf/task or a Decathlon folder; overrides for run.py follow. Layouts are
drawn by chance so that multiply-adds and weights agree within 2 %. Each is trained alone with every seed, for
equally many steps on one thread; then every judge gives its losses. The table has one row per layout and
seed, and one per layout and judge. It is written after each of them, so the same command continues. Beside
it is a folder of its name with the plan, a layout.yaml per layout and the super-networks. Dice does not
depend on how many workers there are; core seconds are those of the process, whatever else runs.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from app.core.csv_file import read_csv, write_csv
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.layout import write_layout
from app.core.lock import locked
from app.operators.supernet import SuperNet
from tests.benchmarks.ranking.bench import SMALL, Asked, open_bench
from tests.benchmarks.ranking.jobs import Job, Rows, results
from tests.benchmarks.ranking.judges import JUDGES, WEIGHTS
from tests.benchmarks.ranking.layouts import Candidate, draw_alike
from tests.benchmarks.ranking.table import TRAINED, ranking_table

_DRAWN_BY = 0  # seed of the layouts
_FREE = ("out", "layouts", "seeds")  # what a command that continues a table may change


def main(words: Sequence[str] | None = None) -> None:
    """Train and judge what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="table to write or to continue")
    parser.add_argument(
        "rest", nargs="*", help="task (hippocampus), then overrides such as search.kernels=12d"
    )
    parser.add_argument("--layouts", type=int, default=24)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=500, help="of each training of a layout")
    parser.add_argument("--short-steps", type=int, default=100, help="of the short trainings of judges")
    parser.add_argument("--super-steps", type=int, default=500, help="of each super-network")
    parser.add_argument("--cases", type=int, default=20, help="held-out cases that are segmented")
    parser.add_argument("--widths", action="store_true", help="draw the widths of each layout too")
    parser.add_argument("--judges", nargs="+", default=list(JUDGES), choices=list(JUDGES))
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    options = parser.parse_intermixed_args(words)
    asked = Asked(
        out=options.out,
        overrides=overrides_of(options.rest),
        layouts=options.layouts,
        seeds=tuple(options.seeds),
        steps=options.steps,
        short_steps=options.short_steps,
        super_steps=options.super_steps,
        cases=options.cases,
        vary_widths=options.widths,
    )
    with locked(asked.folder):
        rows = measure(asked, judges_for(asked, options.judges), workers=options.workers)
    Console(width=140).print(ranking_table(rows))


def overrides_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the task, by its name or its folder, and what follows it, as overrides."""
    named = bool(words) and "=" not in words[0]
    task = words[0] if named else "hippocampus"
    chosen = ("task=decathlon", f"task.folder={task}") if Path(task).is_dir() else (f"task={task}",)
    return (*chosen, *words[named:])


def judges_for(asked: Asked, names: Sequence[str]) -> list[str]:
    """Return the judges that can judge these layouts; name the others."""
    left_out = [name for name in names if asked.vary_widths and name in WEIGHTS]
    if left_out:
        print(f"left out, as a super-network has one width a level: {', '.join(left_out)}")
    return [name for name in names if name not in left_out]


def measure(asked: Asked, judges: Sequence[str], *, workers: int) -> Rows:
    """Return the rows of all trainings and judges, those of an earlier command included."""
    refuse_others(asked)
    candidates = draw(asked)
    rows = _read(asked, candidates)
    done = {(row["judge"], int(row["layout"]), int(row["seed"])) for row in rows}
    judging = [name for name in judges if not all((name, one.number, 0) in done for one in candidates)]
    needed = dict.fromkeys(WEIGHTS[name] for name in judging if name in WEIGHTS)
    training = [
        Job(TRAINED, one.number, seed)
        for seed in asked.seeds
        for one in candidates
        if (TRAINED, one.number, seed) not in done
    ]
    for jobs in ([*map(Job, needed), *training], list(map(Job, judging))):  # judges read the super-networks
        for made in results(asked, candidates, jobs, workers):
            again = {row["judge"] for row in made} - {TRAINED}  # judged before, with fewer layouts
            rows = [*(row for row in rows if row["judge"] not in again), *made]
            write_csv(asked.out, rows)
            for row in made:
                print(
                    f"{row['judge']}, layout {row['layout']}, seed {row['seed']}: loss {row['loss']}",
                    flush=True,
                )
    return [{name: str(value) for name, value in row.items()} for row in rows]


def draw(asked: Asked) -> list[Candidate]:
    """Return the layouts of this command, the same each time, and write their files."""
    bench = open_bench(asked)
    operator = bench.candidates().encoder
    assert isinstance(operator, SuperNet)
    candidates = draw_alike(
        bench.dense,
        operator,
        share=bench.search.budget,
        params_share=bench.search.limited.get("params"),
        count=asked.layouts,
        seed=_DRAWN_BY,
        vary_widths=asked.vary_widths,
    )
    for one in candidates:
        write_layout(asked.folder / "layouts" / f"{one.number:02d}.yaml", one.layout)
    return candidates


def refuse_others(asked: Asked) -> None:
    """See that a table that is continued was begun by the same command; layouts and seeds may become more.

    Raises:
        InputError: it was not.
    """
    path = asked.folder / "asked.json"
    values = {name: value for name, value in asdict(asked).items() if name not in _FREE}
    mine = {
        **{name: list(v) if isinstance(v, tuple) else v for name, v in values.items()},
        "small": list(SMALL),
    }
    if not path.is_file():
        write_json(path, mine)
    began = read_json(path)
    if differing := [name for name in mine if mine[name] != began.get(name)]:
        name = differing[0]
        raise InputError(
            f"{asked.out}: begun with {name} {began.get(name)}, got {mine[name]}; give another file, "
            "or the same options"
        )


def _read(asked: Asked, candidates: Sequence[Candidate]) -> Rows:
    """The rows there are.

    Raises:
        InputError: they are of other layouts, as those of another version of this program may be.
    """
    rows: Rows = list(read_csv(asked.out)) if asked.out.is_file() else []
    known = {one.number: one.digest for one in candidates}
    for row in rows:
        if known.get(int(row["layout"])) != row["digest"]:
            raise InputError(
                f"{asked.out}: layout {row['layout']} is {row['digest']} there, here it is another one"
            )
    return rows


if __name__ == "__main__":
    main()
