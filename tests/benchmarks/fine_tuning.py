"""What fine-tuning gains with few patients: Dice from trained weights against from scratch.

    python -m tests.benchmarks.fine_tuning --target data/Task60_ACDC --source data/Task04_Hippocampus \
        --source data/Task62_BrainStructures --out runs/fine_tuning

The target is planned once, in one stage. Each source trains a network of the same levels, widths and kernels
on all of its cases. Then, for each number of patients and each seed, one training begins with fresh weights
and one with those of each source; all have the same steps, the same patients and the same held-out patients,
that no training has seen. Patients of a larger set include those of a smaller one. A run that is there
already is not repeated, so the same command continues. Writes fine_tuning.csv (one row per run) and prints,
per number of patients, the mean Dice and its paired difference to scratch with a 95 % interval over patients
and seeds.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from app.api import RunFolder, run
from app.core import run_folder
from app.core.csv_file import write_csv
from app.core.files import write_json
from app.core.plan import Plan, read_plan
from app.data.sample.groups import groups_by_prefix
from app.data.sets.decathlon import read_task
from app.metrics.statistics import interval_over_seeds

SCRATCH = "scratch"
_SHUFFLED = 12345  # seed of the order of patients, the same for every seed of a training


@dataclass(frozen=True)
class Outcome:
    """One training: what it began with, on how many patients, and the mean Dice of each held-out case."""

    start: str
    patients: int
    seed: int
    dice: dict[str, float]


def main() -> None:
    """Train what is missing, write the table and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--source", type=Path, action="append", required=True)
    parser.add_argument("--patients", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--held-out", type=int, default=20, help="patients that judge")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000, help="of each training on the target")
    parser.add_argument("--source-steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", help="more overrides for all trainings, such as op=conv3d")
    asked = parser.parse_args()
    outcomes = list(measure(asked))
    write_csv(asked.out / "fine_tuning.csv", rows(outcomes))
    print(table(outcomes))


def measure(asked: argparse.Namespace) -> Iterable[Outcome]:
    """Train, or read what was trained before."""
    common = ["plan.stages=1", *asked.overrides, f"paths.cache={asked.out / 'cache'}"]
    target = [*common, "task=decathlon", f"task.folder={asked.target}"]
    plan_file = trained(asked.out / "plan", "mode=plan", *target, made=run_folder.PLAN) / run_folder.PLAN
    levels = as_overrides(read_plan(plan_file)[0])
    starts = {SCRATCH: None} | {
        source.name: trained(
            asked.out / source.name,
            *(*common, *levels, "task=decathlon", f"task.folder={source}", "fold=none"),
            f"train.steps={asked.source_steps}",
        )
        for source in asked.source
    }
    splits = {count: write_split(asked, count) for count in asked.patients}
    for count, split in splits.items():
        for seed in asked.seeds:
            for start, folder in starts.items():
                done = trained(
                    asked.out / f"{start}_{count}_{seed}",
                    *(*target, f"plan.file={plan_file}", f"split.file={split}", f"seed={seed}"),
                    *(f"train.steps={asked.steps}", *([] if folder is None else [f"train.init={folder}"])),
                )
                yield Outcome(start, count, seed, dice_by_case(RunFolder(done)))


def trained(folder: Path, *overrides: str, made: str = run_folder.SUMMARY) -> Path:
    """Return the folder of a run, once its last file is there."""
    if not (folder / made).is_file():
        resumes = run_folder.can_resume(folder)
        run(*([f"train.resume={folder}"] if resumes else [*overrides, f"paths.run={folder}"]))
    return folder


def as_overrides(plan: Plan) -> list[str]:
    """Return what gives another task's network the levels of a plan, so that all its weights fit."""
    shaped = {"widths": plan.widths, "strides": plan.strides, "kernels": plan.kernels}
    return [f"plan.{name}={_listed(values)}" for name, values in shaped.items()]


def write_split(asked: argparse.Namespace, count: int) -> Path:
    """Write who trains and who judges: of one shuffled order, the first patients judge, the next train."""
    cases = [case.id for case in read_task(asked.target).cases]
    rule = groups_by_prefix(cases)
    by_patient: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        by_patient[rule.key(case) if rule else case].append(case)
    order = sorted(by_patient)
    random.Random(_SHUFFLED).shuffle(order)
    judge, train = order[: asked.held_out], order[asked.held_out :][:count]
    if len(train) < count:
        raise SystemExit(f"{asked.target}: got {len(order)} patients, wanted {asked.held_out + count}")
    sides = {"train": train, "validation": judge}
    path = Path(asked.out / f"split_{count}.json")
    write_json(path, {side: [case for one in who for case in by_patient[one]] for side, who in sides.items()})
    return path


def dice_by_case(done: RunFolder) -> dict[str, float]:
    """Return the mean Dice over labels of each held-out case."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in done.cases:
        if row["dice"]:
            found[row["case"]].append(float(row["dice"]))
    return {case: fmean(values) for case, values in found.items()}


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """Return one row per run."""
    return [
        {"start": one.start, "patients": one.patients, "seed": one.seed, "mean_dice": _mean(one)}
        for one in outcomes
    ]


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a Markdown table: one row per number of patients and start."""
    lines = ["| patients | begins with | mean Dice | difference to scratch |", "|---|---|---|---|"]
    for count in dict.fromkeys(one.patients for one in outcomes):
        some = [one for one in outcomes if one.patients == count]
        base = [one for one in some if one.start == SCRATCH]
        for start in dict.fromkeys(one.start for one in some):
            ours = [one for one in some if one.start == start]
            told = "" if start == SCRATCH else _difference(ours, base)
            lines.append(f"| {count} | {start} | {fmean(map(_mean, ours)):.4f} | {told} |")
    return "\n".join(lines)


def _difference(ours: Sequence[Outcome], base: Sequence[Outcome]) -> str:
    cases = sorted(set.intersection(*(set(one.dice) for one in (*ours, *base))))
    rule = groups_by_prefix(cases)
    by_case = {
        case: fmean(one.dice[case] for one in ours) - fmean(one.dice[case] for one in base) for case in cases
    }
    values = [(rule.key(case) if rule else case, value) for case, value in by_case.items()]
    interval = interval_over_seeds(values, [[_mean(one) for one in side] for side in (ours, base)])
    mean = fmean(by_case.values())
    return (
        f"{mean:+.4f}" if interval is None else f"{mean:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
    )


def _mean(one: Outcome) -> float:
    return fmean(one.dice.values())


def _listed(values: Iterable[object]) -> str:
    return str([list(each) if isinstance(each, tuple) else each for each in values]).replace(" ", "")


if __name__ == "__main__":
    main()
