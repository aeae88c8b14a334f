"""The split into cases that train, held-out cases and test cases; cases of one group stay together."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.core.errors import InputError
from app.core.task import Case, GroupRule
from app.data.sample.split_names import Names, named
from app.data.sample.stratified import stratified_folds

log = logging.getLogger(__name__)
_NNUNET_SEED = 12345
_INNER_FOLDS = 5
_ALL = "fold=none trains on all cases"


@dataclass(frozen=True)
class Split:
    """The training cases and held-out cases of one fold, and the cases of a test set."""

    fold: int | None
    """Number of the held-out fold; None if all cases train."""
    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    """Held-out cases."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Group of each case that shares one with other cases."""
    test: tuple[Case, ...] = ()


@dataclass(frozen=True)
class Folds:
    """The settings that divide cases into folds and choose the held-out fold."""

    fold: int | None
    """Number of the held-out fold; None holds out nothing."""
    folds: int
    """Number of folds."""
    seed: int
    """Seed that shuffles the groups."""
    group: GroupRule | None = None
    rule: str = "groups"
    """`groups` divides groups of cases; `nnunet` divides single cases as nnU-Net does."""
    stratify: bool = False
    """Whether labels and their sizes are spread evenly over the folds."""
    names: Names | None = None
    """A split chosen by the user, which overrides all of this except `fold`."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.rule not in ("groups", "nnunet"):
            raise InputError(f"split.rule: got {self.rule!r}, wanted groups or nnunet")
        if self.stratify and self.rule == "nnunet":
            raise InputError(
                "split.stratify: nnU-Net's folds are not stratified; leave out split.stratify or split.rule"
            )


def split_cases(
    cases: Sequence[Case],
    how: Folds,
    *,
    duplicates: Sequence[Sequence[str]] = (),
    test: Sequence[Case] = (),
    volumes: Mapping[str, Sequence[float]] | None = None,
) -> Split:
    """Return the split with one fold held out; the same seed gives the same folds on every machine.

    `duplicates` are ids of cases that stay together, such as copies of a scan: their groups become one.
    `volumes` has the volumes of labels 1, 2, ... by case id, for stratified folds. A warning names groups
    that the split separates.

    Raises:
        InputError: there are fewer groups than folds, the fold does not exist, no case is left for training,
            or `how` names cases that do not exist.
    """
    keys = _keys(cases, how.group, duplicates)
    if how.fold is None:
        return Split(None, tuple(cases), (), _shared(keys), tuple(test))
    if how.names is not None:
        sides = [
            named(names, cases, how.group, "split.file") for names in (how.names.train, how.names.validation)
        ]
        if twice := sorted(sides[0] & sides[1]):
            raise InputError(f"split.file: {twice[0]} both trains and is held out")
        trains, held_out = sides
    else:
        held_out = _held_out(keys, how, volumes or {})
        trains = set(keys) - held_out
    if not trains:
        raise InputError("split: got no training case, wanted at least one")
    _warn_of_torn(keys, trains, held_out)
    return Split(
        how.fold,
        tuple(case for case in cases if case.id in trains),
        tuple(case for case in cases if case.id in held_out),
        _shared(keys),
        tuple(test),
    )


def inner_split(split: Split, seed: int) -> Split:
    """Return the training cases divided once more: a fifth of their groups is held out.

    Cases that the split keeps together stay together. If there is a single group, all its cases are in both
    parts.
    """
    together: dict[str, list[str]] = {}
    for case in split.training:
        together.setdefault(split.groups.get(case.id, case.id), []).append(case.id)
    if len(together) == 1:
        return Split(0, split.training, split.training)
    folds = Folds(0, min(_INNER_FOLDS, len(together)), seed)
    return split_cases(split.training, folds, duplicates=list(together.values()))


def _keys(
    cases: Sequence[Case], group: GroupRule | None, duplicates: Sequence[Sequence[str]]
) -> dict[str, str]:
    """Return the group of each case by its id."""
    keys = {case.id: group.key(case.id) if group else case.id for case in cases}
    for alike in duplicates:
        joined = {keys[case] for case in alike if case in keys}
        keys.update({case: min(joined) for case, key in keys.items() if key in joined})
    return keys


def _held_out(keys: Mapping[str, str], how: Folds, volumes: Mapping[str, Sequence[float]]) -> set[str]:
    """Return the ids of the held-out cases."""
    assert how.fold is not None
    if how.folds < 2:
        raise InputError(f"folds: got {how.folds}, wanted at least 2; {_ALL}")
    if not 0 <= how.fold < how.folds:
        raise InputError(f"fold: got {how.fold}, wanted 0 to {how.folds - 1}")
    units = sorted(keys) if how.rule == "nnunet" else sorted(set(keys.values()))
    if len(units) < how.folds:
        fewer = f"folds={len(units)} holds out one group at a time; " if len(units) > 1 else ""
        raise InputError(
            f"folds: got {len(units)} groups of cases, wanted at least {how.folds}, one per fold; "
            f"{fewer}{_ALL}"
        )
    if how.rule == "nnunet":
        order = np.arange(len(units))
        np.random.RandomState(_NNUNET_SEED).shuffle(order)  # shuffled as by scikit-learn's KFold
        return {units[index] for index in np.array_split(order, how.folds)[how.fold]}
    if how.stratify:
        chosen = stratified_folds(keys, volumes, folds=how.folds, seed=how.seed)[how.fold]
    else:
        shuffled = np.random.default_rng(how.seed).permutation(units)
        chosen = set(np.array_split(shuffled, how.folds)[how.fold].tolist())
    return {case for case, key in keys.items() if key in chosen}


def _warn_of_torn(keys: Mapping[str, str], trains: set[str], held_out: set[str]) -> None:
    """Warn of groups that have both training and held-out cases, which makes held-out scores too good."""
    torn = sorted({keys[case] for case in trains} & {keys[case] for case in held_out})
    if torn:
        example = [case for case, key in keys.items() if key == torn[0]]
        log.warning(
            "split: %d groups have both training and held-out cases, "
            "so held-out scores are too good; for example %s: %s",
            *(len(torn), torn[0], ", ".join(example[:4])),
        )


def _shared(keys: Mapping[str, str]) -> dict[str, str]:
    counts = Counter(keys.values())
    return {case: key for case, key in keys.items() if counts[key] > 1}
