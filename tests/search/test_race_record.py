"""The record of a race on the disk."""

from pathlib import Path

from app.search.race_record import RaceEntry, Record, mean_worth, multiplied
from tests.support.searching import small_space


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "race.json"
    assert Record.read(path).rungs == []
    entries = [RaceEntry(number, small_space().random(number)) for number in range(2)]
    record = Record.read(path)
    record.begin(entries, 1.5)
    entries[0].done, entries[0].loss, entries[0].worth = True, 0.1 + 0.2, {"encoder.0.0": {"1x3x3": 1 / 3}}
    entries[1].done = True
    record.write()
    again = Record.read(path)
    assert again == record and again.draw_seconds == 1.5
    assert again.rungs[0][1].rank == float("inf") > again.rungs[0][0].rank


def test_worth_is_averaged_over_networks_of_the_same_levels() -> None:
    layouts = [small_space().first(0, 0), small_space().first(1, 0)]
    entries = [
        RaceEntry(0, layouts[0], worth={"a": {"1x3x3": 1.0, "3x1x1": 2.0}}),
        RaceEntry(1, layouts[1], worth={"a": {"1x3x3": 3.0}}),
    ]
    assert layouts[0].network is not None
    strides = layouts[0].network.strides
    assert mean_worth(entries, strides) == {"a": {"1x3x3": 2.0, "3x1x1": 2.0}}
    assert mean_worth(entries, strides[:2]) == {}
    assert multiplied({"a": {"x": 2.0}}, {"a": {"x": 3.0, "y": 4.0}, "b": {"x": 5.0}}) == {
        "a": {"x": 6.0, "y": 4.0},
        "b": {"x": 5.0},
    }
