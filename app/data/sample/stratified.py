"""Folds over which labels and their sizes are spread evenly.

Groups are assigned one by one, those with the rarest label first, and of these the largest first. Each goes
to the fold with the fewest groups that have the label; ties are resolved by the number of cases, then by
the total volume (after Sechidis et al. 2011).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np


def stratified_folds(
    keys: Mapping[str, str], volumes: Mapping[str, Sequence[float]], *, folds: int, seed: int
) -> list[set[str]]:
    """Return the groups of each fold.

    `keys` has the group of each case, `volumes` the volumes of its labels 1, 2, ..., both by case id.
    """
    cases = Counter(keys.values())
    sizes = {group: np.zeros(max(map(len, volumes.values()), default=0)) for group in cases}
    for case, group in keys.items():
        sizes[group] = sizes[group] + np.asarray(volumes[case])
    having = Counter(int(label) for size in sizes.values() for label in np.flatnonzero(size))
    shuffled = np.random.default_rng(seed).permutation(sorted(cases)).tolist()

    def rarest(group: str) -> int | None:
        return min(
            np.flatnonzero(sizes[group]).tolist(), key=lambda label: (having[label], label), default=None
        )

    def place(group: str) -> tuple[float, float]:
        label = rarest(group)
        return (np.inf, 0.0) if label is None else (having[label], -sizes[group][label])

    found: list[set[str]] = [set() for _ in range(folds)]
    for group in sorted(shuffled, key=place):
        label = rarest(group)

        def load(members: set[str], label: int | None = label) -> tuple[float, ...]:
            with_it = 0 if label is None else sum(bool(sizes[one][label]) for one in members)
            return with_it, sum(cases[one] for one in members), sum(sizes[one].sum() for one in members)

        min(found, key=load).add(group)
    return found
