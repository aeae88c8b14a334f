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
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from app.core import run_folder
from app.core.csv_file import write_csv
from app.core.files import write_json
from app.core.plan import Plan, read_plan
from app.data.sets.decathlon import read_task
from tests.benchmarks.paired_runs import Outcome, difference, outcome, shuffled_groups, trained

SCRATCH = "scratch"
Measured = list[tuple[int, Outcome]]  # each with the number of patients it trained on


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


def measure(asked: argparse.Namespace) -> Iterable[tuple[int, Outcome]]:
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
                yield count, outcome(start, seed, done)


def as_overrides(plan: Plan) -> list[str]:
    """Return what gives another task's network the levels of a plan, so that all its weights fit."""
    shaped = {"widths": plan.widths, "strides": plan.strides, "kernels": plan.kernels}
    return [f"plan.{name}={_listed(values)}" for name, values in shaped.items()]


def write_split(asked: argparse.Namespace, count: int) -> Path:
    """Write who trains and who judges: of one shuffled order, the first patients judge, the next train."""
    patients = shuffled_groups(read_task(asked.target).cases)
    judge, train = patients[: asked.held_out], patients[asked.held_out :][:count]
    if len(train) < count:
        raise SystemExit(f"{asked.target}: got {len(patients)} patients, wanted {asked.held_out + count}")
    sides = {"train": train, "validation": judge}
    path = Path(asked.out / f"split_{count}.json")
    write_json(path, {side: [case for ids in who for case in ids] for side, who in sides.items()})
    return path


def rows(outcomes: Measured) -> list[dict[str, object]]:
    """Return one row per run."""
    return [
        {
            "group": f"{count} patients, {one.name}",
            "start": one.name,
            "patients": count,
            "seed": one.seed,
            "mean_dice": one.mean,
        }
        for count, one in outcomes
    ]


def table(outcomes: Measured) -> str:
    """Return a Markdown table: one row per number of patients and start."""
    lines = ["| patients | begins with | mean Dice | difference to scratch |", "|---|---|---|---|"]
    for count in dict.fromkeys(count for count, _ in outcomes):
        some = [one for patients, one in outcomes if patients == count]
        base = [one for one in some if one.name == SCRATCH]
        for start in dict.fromkeys(one.name for one in some):
            ours = [one for one in some if one.name == start]
            told = "" if start == SCRATCH else difference(ours, base)
            lines.append(f"| {count} | {start} | {fmean(one.mean for one in ours):.4f} | {told} |")
    return "\n".join(lines)


def _listed(values: Iterable[object]) -> str:
    return str([list(each) if isinstance(each, tuple) else each for each in values]).replace(" ", "")


if __name__ == "__main__":
    main()
