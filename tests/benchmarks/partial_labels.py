"""What cases lose that annotate one label each: Dice against full annotation, and against saying nothing.

    python -m tests.benchmarks.partial_labels --data data/Task04_Hippocampus --out runs/partial_labels

Every training case keeps one label of its label map, the labels in turn; the others become background in a
copy. Three trainings per seed have the same cases, patches and steps: with all labels (full), with the copies
and `annotated` in dataset.json (partial), and with the copies as if they were complete (unsaid). Held-out
cases keep all labels. A run that is there already is not repeated, so the same command continues. Writes
partial_labels.csv (one row per run) and prints the mean Dice of each and its paired differences to full and
to unsaid, with 95 % intervals over patients and seeds.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import nibabel as nib
import numpy as np

from app.core.csv_file import write_csv
from app.core.files import read_json, write_json
from app.data.sets.dataset_json import DATASET_JSON
from app.data.sets.decathlon import read_task
from tests.benchmarks.paired_runs import Outcome, difference, outcome, shuffled_groups, trained

FULL, PARTIAL, UNSAID = "full", "partial", "unsaid"


def main() -> None:
    """Train what is missing, write the table and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--held-out", type=int, default=40, help="patients that judge")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", help="more overrides for all trainings, such as op=conv3d")
    asked = parser.parse_args()
    outcomes = measure(asked)
    rows = [{"group": one.name, "seed": one.seed, "mean_dice": one.mean} for one in outcomes]
    write_csv(asked.out / "partial_labels.csv", rows)
    print(table(outcomes))


def measure(asked: argparse.Namespace) -> list[Outcome]:
    """Train, or read what was trained before."""
    patients = shuffled_groups(read_task(asked.data).cases)
    judge, train = (
        [case for ids in some for case in ids]
        for some in (patients[: asked.held_out], patients[asked.held_out :])
    )
    split = asked.out / "split.json"
    write_json(split, {"train": train, "validation": judge})
    sets = {
        name: write_set(asked.data, asked.out / "sets" / name, train, name)
        for name in (FULL, PARTIAL, UNSAID)
    }
    return [
        outcome(
            name,
            seed,
            trained(
                asked.out / f"{name}_{seed}",
                *("task=decathlon", f"task.folder={folder}", f"split.file={split}", f"seed={seed}"),
                *(f"train.steps={asked.steps}", f"paths.cache={asked.out / 'cache'}", *asked.overrides),
            ),
        )
        for seed in asked.seeds
        for name, folder in sets.items()
    ]


def write_set(data: Path, folder: Path, train: Sequence[str], name: str) -> Path:
    """Write dataset.json, and the label maps of training cases that keep one label; return the folder."""
    facts, task = read_json(data / DATASET_JSON), read_task(data)
    kept = {case: 1 + index % (len(task.labels) - 1) for index, case in enumerate(train)}
    entries = []
    for case in task.cases:
        assert case.label is not None
        entry = {"id": case.id, "image": str(case.image.absolute()), "label": str(case.label.absolute())}
        if name != FULL and case.id in kept:
            entry["label"] = str(_with_one_label(case.label, folder / f"{case.id}.nii.gz", kept[case.id]))
        annotated = {"annotated": [task.labels[kept[case.id]]]} if name == PARTIAL and case.id in kept else {}
        entries.append({**entry, **annotated})
    write_json(folder / DATASET_JSON, {**facts, "numTest": 0, "test": [], "training": entries})
    return folder


def _with_one_label(source: Path, target: Path, value: int) -> Path:
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        image = nib.load(source)
        labels = np.asanyarray(image.dataobj)
        nib.save(nib.Nifti1Image(np.where(labels == value, labels, 0).astype(np.uint8), image.affine), target)
    return target.absolute()


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a Markdown table: one row per kind of annotation."""
    by_name = {name: [one for one in outcomes if one.name == name] for name in (FULL, PARTIAL, UNSAID)}
    lines = ["| annotation | mean Dice | difference to full | difference to unsaid |", "|---|---|---|---|"]
    for name, ours in by_name.items():
        told = ("" if name == other else difference(ours, by_name[other]) for other in (FULL, UNSAID))
        lines.append(f"| {name} | {fmean(one.mean for one in ours):.4f} | {' | '.join(told)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
