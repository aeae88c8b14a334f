"""How a race shares out its steps, and what its finish says."""

from app.search.race import rungs


def test_each_rung_has_half_the_networks_and_twice_the_steps() -> None:
    found = rungs(4000, None)
    assert [(rung.networks, rung.steps, rung.again) for rung in found] == [
        (12, 83, False),
        (6, 166, False),
        (3, 333, False),
        (3, 333, True),
    ]
    assert [rung.first for rung in found] == [0, 83, 249, 582]
    assert sum(rung.networks * rung.steps for rung in found) <= 4000


def test_few_steps_make_a_race_of_fewer_networks() -> None:
    assert [rungs(steps, None)[0].networks for steps in (768, 767, 100)] == [12, 6, 6]
    assert [(rung.networks, rung.steps) for rung in rungs(1, 4)] == [(4, 1), (4, 1)]
