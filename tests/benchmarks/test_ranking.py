"""The ranking of judges: which layouts are drawn, what a table says, and that a command continues."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app.core.csv_file import read_csv
from app.core.errors import InputError
from app.core.layout import read_layout
from app.models.model import Shape
from app.models.network import NetworkSpec, design
from app.models.unet import UNetModel
from app.operators.plain import Conv3d
from app.operators.supernet import SuperNet
from tests.benchmarks.ranking import __main__ as command
from tests.benchmarks.ranking import jobs, table
from tests.benchmarks.ranking.judges import JUDGES, race
from tests.benchmarks.ranking.layouts import Candidate, draw_alike
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

TWO = (2, 2, 2)
SHAPE = Shape(1, 2, (16, 32), ((1, 1, 1), TWO), ((3, 3, 3),) * 2, (16, 16, 16))
DENSE = design(UNetModel("plain", 2, 2, deep_supervision=False), SHAPE, Conv3d(), None)
SMALL = (
    *("plan.patch=[16,16,16]", "plan.base_width=8", "plan.max_levels=2", "augment=none", "folds=2"),
    *("threads=1", "search.kernels=12d", "search.budget=0.25", "search.align=2"),
)


@pytest.mark.parametrize("vary_widths", [False, True])
def test_layouts_cost_the_same_and_differ(vary_widths: bool) -> None:
    operator = SuperNet("12d", "all", "sampled", "shared", 0.1, unit=4, most_units=8)
    drawn = [
        draw_alike(DENSE, operator, share=0.25, count=count, seed=0, vary_widths=vary_widths)
        for count in (2, 3)
    ]
    assert [one.digest for one in drawn[0]] == [one.digest for one in drawn[1]][:2]
    assert len({one.digest for one in drawn[1]}) == 3
    for name in ("macs", "params"):
        costs = [getattr(one.cost, name) for one in drawn[1]]
        assert max(costs) <= 1.02 * min(costs)
        counted = drawn[1][0].spec(DENSE).cost((16, 16, 16))
        assert costs[0] == getattr(counted, name)
    assert (len({one.widths for one in drawn[1]}) > 1) == vary_widths


def test_more_layouts_than_there_are_is_an_error() -> None:
    operator = SuperNet("1d", "all", "sampled", "shared", 0.1, unit=16, most_units=1)
    with pytest.raises(InputError, match=r"search\.align"):
        draw_alike(DENSE, operator, share=0.5, count=2, seed=0)


def row(judge: str, layout: int, seed: int, loss: float, dice: float | None = None) -> dict[str, str]:
    values = {"judge": judge, "layout": layout, "seed": seed, "loss": loss, "dice": dice, "seconds": 10}
    return {name: str(value) for name, value in {**values, "macs": 100 + layout, "params": 50}.items()}


def test_correlations_and_their_ceiling_are_as_by_hand() -> None:
    """Seed 1 swaps the first two of four layouts: Spearman .8, .89 for the mean of two."""
    losses = {0: (1.0, 2.0, 3.0, 4.0), 1: (2.1, 1.2, 3.0, 4.0)}
    rows = [
        row(table.TRAINED, layout, seed, losses[seed][layout], 1 - losses[seed][layout] / 10)
        for layout in range(4)
        for seed in (0, 1)
    ]
    rows += [row("good", layout, 0, (1.0, 1.1, 1.2, 1.3)[layout]) for layout in range(4)]
    assert table.between_seeds(rows, "loss") == pytest.approx(0.8)
    assert table.corrected(0.8, 2) == pytest.approx(1.6 / 1.8) and table.corrected(-1.0, 2) == 0
    np.testing.assert_allclose(table.means(rows, table.TRAINED, "loss"), [1.55, 1.6, 3.0, 4.0])
    told = table.ranking_table(rows)
    cells = {line[0]: line[1:] for line in zip(*(list(column.cells) for column in told.columns), strict=True)}
    assert cells["good"][:2] == ("+1.00", "+1.00") and cells["good"][3:] == ("40", "50.0%")
    assert cells["macs alone"][:2] == ("+1.00", "+1.00") and cells["params alone"][0] == "undefined"
    assert {"+0.80", "+0.89", "+0.94"} <= {cell for line in cells.values() for cell in line}


def test_a_layout_without_all_seeds_does_not_count() -> None:
    rows = [row(table.TRAINED, layout, seed, 1.0) for layout, seed in ((0, 0), (0, 1), (1, 0))]
    assert table.by_layout(rows, "loss") == [[1.0, 1.0]]


class Losses:
    """A stand-in for a bench whose networks are numbers; their loss is known by number and steps so far."""

    asked = SimpleNamespace(short_steps=8)
    dense, teaching, judging = DENSE, None, None

    def __init__(self, drawn: Sequence[Candidate], early: Sequence[float], late: Sequence[float]) -> None:
        self._specs = [one.spec(DENSE) for one in drawn]
        self._early, self._late = early, late
        self.trained: list[int] = []

    def fresh(self, spec: NetworkSpec, _seed: int) -> tuple[int, int]:
        return self._specs.index(spec), 0

    def fit(self, network: tuple[int, int], _cases: None, *, steps: int, seed: int) -> tuple[int, int]:
        self.trained.append(steps)
        return network[0], network[1] + steps

    def loss(self, network: tuple[int, int], _cases: None) -> float:
        return (self._early if network[1] < 4 else self._late)[network[0]]


def test_half_of_a_race_continue_and_the_finalists_train_again() -> None:
    """Number 3 is first at the start and falls behind; 1 is the best in the end; 0 drops out at once."""
    operator = SuperNet("12d", "all", "sampled", "shared", 0.1, unit=4, most_units=8)
    drawn = draw_alike(DENSE, operator, share=0.25, count=6, seed=0)
    bench = Losses(drawn, early=(9, 5, 4, 1, 6, 7), late=(0, 1, 2, 3, 4, 5))
    estimates = race(bench, drawn)  # type: ignore[arg-type]
    assert bench.trained == [2] * 6 + [4] * 3 + [8] * 2 + [8] * 2
    assert min(estimates) == estimates[1] and max(estimates) == estimates[0]


def nothing_left(*_: object) -> None:
    raise AssertionError("a row was there already")


def test_every_judge_judges_and_the_command_continues(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ranking" / "blobs.csv"
    common = [str(out), str(make_task(cases=6)), *SMALL, f"paths.cache={tmp_path / 'cache'}"]
    common += ["--steps=2", "--short-steps=1", "--super-steps=1", "--cases=1", "--seeds", "0", "1"]
    command.main([*common, "--layouts=2", "--judges", "short training"])
    rows = read_csv(out)
    assert [(one["judge"], one["layout"], one["seed"]) for one in rows] == [
        *(("trained", layout, seed) for seed in "01" for layout in "01"),
        *(("short training", layout, "0") for layout in "01"),
    ]
    assert rows[0]["loss"] != rows[2]["loss"] and 0 <= float(rows[0]["dice"]) <= 1
    command.main([*common, "--layouts=3"])
    more = read_csv(out)
    assert more[:4] == rows[:4] and len(more) == 3 * (2 + len(JUDGES))
    capsys.readouterr()
    monkeypatch.setattr(jobs, "work", nothing_left)
    command.main([*common, "--layouts=3"])
    told = capsys.readouterr().out
    assert all(name[:20] in told for name in JUDGES)
    third = read_layout(out.with_suffix("") / "layouts" / "02.yaml")
    assert sum(third.convolutions["encoder.0.0"].values()) == 8
    with pytest.raises(InputError, match="steps") as error:
        command.main([*common, "--layouts=3", "--steps=3"])
    assert str(out) in str(error.value)
