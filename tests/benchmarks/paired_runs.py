"""Trainings that are compared on the same held-out cases."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from app.api import RunFolder, run
from app.core import run_folder
from app.core.task import Case
from app.data.sample.groups import groups_by_prefix
from app.metrics.statistics import interval_over_seeds

_SHUFFLED = 12345  # seed of the order of groups, the same for every seed of a training


@dataclass(frozen=True)
class Outcome:
    """One training: what distinguishes it, its seed, and the mean Dice of each held-out case."""

    name: str
    seed: int
    dice: dict[str, float]

    @property
    def mean(self) -> float:
        """Return the mean over cases."""
        return fmean(self.dice.values())


def trained(folder: Path, *overrides: str, made: str = run_folder.SUMMARY) -> Path:
    """Return the folder of a run, once its last file is there."""
    if not (folder / made).is_file():
        resumes = run_folder.can_resume(folder)
        run(*([f"train.resume={folder}"] if resumes else [*overrides, f"paths.run={folder}"]))
    return folder


def outcome(name: str, seed: int, folder: Path) -> Outcome:
    """Read a finished run."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in RunFolder(folder).cases:
        if row["dice"]:
            found[row["case"]].append(float(row["dice"]))
    return Outcome(name, seed, {case: fmean(values) for case, values in found.items()})


def shuffled_groups(cases: Sequence[Case]) -> list[list[str]]:
    """Return the ids of cases by patient, patients in a fixed random order."""
    ids = [case.id for case in cases]
    rule = groups_by_prefix(ids)
    groups: dict[str, list[str]] = defaultdict(list)
    for case in ids:
        groups[rule.key(case) if rule else case].append(case)
    order = sorted(groups)
    random.Random(_SHUFFLED).shuffle(order)
    return [groups[key] for key in order]


def difference(ours: Sequence[Outcome], base: Sequence[Outcome]) -> str:
    """Return the mean difference of Dice, with its 95 % interval over patients and seeds if there is one."""
    cases = sorted(set.intersection(*(set(one.dice) for one in (*ours, *base))))
    rule = groups_by_prefix(cases)
    by_case = {
        case: fmean(one.dice[case] for one in ours) - fmean(one.dice[case] for one in base) for case in cases
    }
    values = [(rule.key(case) if rule else case, value) for case, value in by_case.items()]
    interval = interval_over_seeds(values, [[one.mean for one in side] for side in (ours, base)])
    mean = fmean(by_case.values())
    return (
        f"{mean:+.4f}" if interval is None else f"{mean:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
    )
