"""How a race shares out its steps, who continues, and who wins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from app.core.kernel import Kernel
from app.core.layout import Layout
from app.search.finish import agreement, duel
from app.search.guess import Guess, learn_guess
from app.search.race import Race, rungs
from app.search.race_record import RaceEntry, Record
from app.search.space import Space
from tests.support.searching import small_space

SPACE = small_space(0.4, free=False)


def test_each_rung_has_half_the_networks_and_twice_the_steps() -> None:
    found = rungs(4800, None)
    assert [(rung.networks, rung.steps, rung.again) for rung in found] == [
        (12, 100, False),
        (6, 200, False),
        (3, 400, False),
        (2, 600, True),
    ]
    assert [rung.first for rung in found] == [0, 100, 300, 700]
    assert sum(rung.networks * rung.steps for rung in found) == 4800


def test_few_steps_make_a_race_of_fewer_networks() -> None:
    assert [rungs(steps, None)[0].networks for steps in (4800, 4799, 100)] == [12, 6, 6]
    assert [(rung.networks, rung.steps) for rung in rungs(1, 4)] == [(4, 1), (2, 1)]


def test_a_judgement_takes_as_long_as_eight_steps() -> None:
    """It is a forward pass over 24 batches; 12, 6, 3 and 2 networks are judged."""
    none: Any = None
    assert Race(none, none, none, none, rungs(4800, None)).equivalent_steps == 4800 + 23 * 8


def line_share(layout: Layout) -> float:
    counts = layout.convolutions.values()
    return float(np.mean([of.get(Kernel((3, 1, 1)), 0) / sum(of.values()) for of in counts]))


def raced(space: Space, gain: float, seed: int, *, planned: bool = True) -> Record:
    """Return the record of a race in which lines along depth lower the loss by `gain`, in noise of .03.

    Without `planned`, the first network has no finite loss.
    """
    training: Any = SimpleNamespace(recipe=SimpleNamespace(seed=seed))
    race = Race(training, space, cast(Any, None), cast(Any, None), rungs(2400, None))
    record, rng = Record(Path("unwritten"), []), np.random.default_rng(seed)
    for number, rung in enumerate(race.rungs):
        entries = race._entries(record, number, rung)
        for entry in entries:
            loss = rng.normal(0, 0.03) - gain * line_share(entry.layout)
            entry.done, entry.loss = True, loss if entry.number or planned else None
        record.rungs.append(entries)
    return record


def test_the_planned_network_meets_the_best_challenger_by_estimate() -> None:
    record = raced(SPACE, 0.1, 0)
    guess, last = learn_guess(record.rungs[:-1]), record.rungs[-2]
    best = min((entry for entry in last if entry.number), key=guess.of)
    assert {entry.number for entry in record.rungs[-1]} == {0, best.number}
    assert all(entry.parent is None for entry in record.rungs[-1])
    assert agreement(learn_guess(record.rungs[:-2]), last) is not None
    assert agreement(learn_guess([]), last) is None


def test_two_others_meet_if_the_planned_network_left() -> None:
    record = raced(SPACE, 0.1, 0, planned=False)
    assert len(record.rungs[-1]) == 2 and all(entry.number for entry in record.rungs[-1])
    assert duel(record.rungs[-1], learn_guess(record.rungs)) is None


def test_as_many_children_are_proposed_as_the_race_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second rung has one child, which is one of four."""
    training: Any = SimpleNamespace(recipe=SimpleNamespace(seed=0))
    race = Race(training, SPACE, cast(Any, None), cast(Any, None), rungs(2400, None), proposals=4)
    record = raced(SPACE, 0.1, 0)
    del record.rungs[1:]
    usual, seeds = Space.child, list[tuple[int, ...]]()

    def child(space: Space, parents: Any, worth: Any, *seed: int) -> Layout:
        seeds.append(seed)
        return usual(space, parents, worth, *seed)

    monkeypatch.setattr(Space, "child", child)
    race._entries(record, 1, race.rungs[1])
    assert seeds == [(0, 1, 0, number) for number in range(4)]


def test_survivors_are_those_with_the_best_estimates() -> None:
    record = raced(SPACE, 0.1, 3)
    guess = learn_guess(record.rungs[:1])
    others = sorted((entry for entry in record.rungs[0] if entry.number), key=guess.of)
    assert {entry.parent for entry in record.rungs[1]} == {0, others[0].number}


def test_agreement_is_the_rank_correlation_of_estimates_and_losses() -> None:
    """Ranks 1, 2, 3 and 3, 1, 2 differ by 2, 1 and 1: 1 - 6 * 6 / (3 * 8)."""
    guess = Guess({}, {1: 0.1, 2: 0.2, 3: 0.3})
    rung = [RaceEntry(number, SPACE.random(1), loss=loss) for number, loss in ((1, 0.3), (2, 0.1), (3, 0.2))]
    assert agreement(guess, rung) == pytest.approx(-0.5)
    assert agreement(guess, [*rung[:2], RaceEntry(3, SPACE.random(1))]) is None
    assert agreement(guess, [RaceEntry(number, SPACE.random(1), loss=0.2) for number in (1, 2, 3)]) is None


def test_a_challenger_must_lead_by_a_standard_deviation() -> None:
    planned, other = (RaceEntry(number, SPACE.random(1), loss=0.5) for number in (0, 4))

    def wins(lead: float, error: float) -> bool:
        covariance = np.diag([error**2 / 2, error**2 / 2])
        found = duel([other, planned], Guess({}, {0: lead, 4: 0.0}, covariance))
        assert found is not None and (found.challenger, found.lead) == (4, lead)
        assert found.error == pytest.approx(error)
        return found.won

    assert (wins(0.5, 0.4), wins(0.3, 0.4), wins(-0.5, 0.4), wins(0.0, 0.0)) == (True, False, False, False)


def won(gain: float, seed: int) -> bool:
    record = raced(SPACE, gain, seed)
    result = duel(record.rungs[-1], learn_guess(record.rungs))
    assert result is not None
    return result.won


def test_challengers_that_are_much_better_win_and_others_rarely_do() -> None:
    """Without any difference, 6 of the first 30 seeds have a challenger that wins by chance."""
    assert all(won(4.0, seed) for seed in range(3))
    assert sum(won(0.0, seed) for seed in range(8)) <= 3
