"""Which cases train and which are held out: folds in which cases that belong together stay together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.core.errors import InputError
from app.core.task import Case, GroupRule


@dataclass(frozen=True)
class Split:
    """Training and held-out cases of one fold."""

    fold: int
    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    """The group of each case that shares one with others."""


def split_cases(
    cases: Sequence[Case],
    *,
    fold: int,
    folds: int,
    seed: int,
    group: GroupRule | None,
    twins: Sequence[Sequence[str]] = (),
) -> Split:
    """Hold out one fold of whole groups; the same seed gives the same folds on every machine.

    `twins` are ids of cases that hold the same scan: their groups become one.

    Raises:
        InputError: fewer groups than folds, or no such fold.
    """
    if not 0 <= fold < folds:
        raise InputError(f"fold: got {fold}, wanted 0 to {folds - 1}")
    keys = {case.id: group.key(case.id) if group else case.id for case in cases}
    for alike in twins:
        joined = {keys[case] for case in alike if case in keys}
        keys.update({case: min(joined) for case, key in keys.items() if key in joined})
    groups = sorted(set(keys.values()))
    if len(groups) < folds:
        raise InputError(f"folds: got {len(groups)} groups of cases, wanted at least {folds}, one a fold")
    shuffled = np.random.default_rng(seed).permutation(groups)
    held_out = set(np.array_split(shuffled, folds)[fold].tolist())
    return Split(
        fold,
        tuple(case for case in cases if keys[case.id] not in held_out),
        tuple(case for case in cases if keys[case.id] in held_out),
        _shared(keys),
    )


def _shared(keys: Mapping[str, str]) -> dict[str, str]:
    counts = Counter(keys.values())
    return {case: key for case, key in keys.items() if counts[key] > 1}
