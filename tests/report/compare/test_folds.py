"""The summary of folds: means and standard errors by hand, seeds averaged, missing folds named."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.sweep import Sweep, SweepJob
from app.metrics.score import Score
from app.report.compare.folds import cross_validate, pool_folds, write_folds
from app.report.read.runs import read_runs

CASES = {
    (0, 0): {"a": (0.9, 0.7), "b": (0.8, None)},
    (0, 1): {"a": (0.7, 0.7), "b": (0.8, None)},
    (1, 0): {"c": (0.6, 0.5)},
    (1, 1): {"c": (0.6, 0.5)},
}


@pytest.fixture
def swept(tmp_path: Path) -> Sweep:
    """Write two folds with two seeds each, of labels one and two; the third fold has not been run."""
    entries = []
    for fold, seed in [*CASES, (2, 0)]:
        name = f"fold-{fold}+seed-{seed}"
        entries.append(SweepJob(name, "run", (f"fold={fold}", f"seed={seed}")))
        if (fold, seed) in CASES:
            write_run(tmp_path / name, fold, seed)
    return Sweep("test", None, tuple(entries))


def write_run(folder: Path, fold: int, seed: int) -> None:
    folder.mkdir()
    cases = CASES[fold, seed]
    dice = {
        label: mean_of([values[index] for values in cases.values()])
        for index, label in enumerate(("one", "two"))
    }
    facts = {"fold": fold, "seed": seed, "dice": dice, "nsd": dict.fromkeys(dice), "hd95_mm": {}}
    summary = {**facts, "mean_dice": mean_of([*dice.values()])}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    rows = [
        f"{case},{label},{'' if value is None else value},,"
        for case, values in cases.items()
        for label, value in zip(("one", "two"), values, strict=True)
    ]
    (folder / "cases.csv").write_text("\n".join(["case,label,dice,hd95_mm,nsd", *rows]), encoding="utf-8")


def mean_of(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def test_means_over_folds_and_over_cases(swept: Sweep, tmp_path: Path) -> None:
    runs = read_runs([tmp_path / entry.name for entry in swept.entries[:4]])
    (found,) = cross_validate(runs, swept)
    assert (found.folds, found.missing) == (("0", "1"), ("fold-2+seed-0",))
    one = found.scores["dice"]["one"]
    assert one.folds == pytest.approx({"0": 0.8, "1": 0.6})
    assert (one.mean, one.standard_error) == (pytest.approx(0.7), pytest.approx(0.1))
    assert (one.cases, one.case_mean) == (3, pytest.approx((0.8 + 0.8 + 0.6) / 3))
    assert one.case_standard_error == pytest.approx(
        math.sqrt(((0.8 - 2.2 / 3) ** 2 * 2 + (0.6 - 2.2 / 3) ** 2) / 6)
    )
    two = found.scores["dice"]["two"]
    assert (two.mean, two.cases) == (pytest.approx(0.6), 2)
    assert found.mean_dice.folds == pytest.approx({"0": 0.75, "1": 0.55})
    assert found.mean_dice.case_mean == pytest.approx((0.75 + 0.8 + 0.55) / 3)
    assert found.scores["nsd"]["one"].mean is None and found.scores["nsd"]["one"].cases == 0


def test_miss_and_false_alarm_of_one_repeat_stay(swept: Sweep, tmp_path: Path) -> None:
    runs = read_runs([tmp_path / entry.name for entry in swept.entries[:2]])
    volumes = (((0.0, 50.0), (45.0, 50.0)), ((30.0, 0.0), (0.0, 0.0)), ((48.0, 50.0), (44.0, 50.0)))
    repeats = [
        replace(run, scores=tuple(Score(str(n), "one", {}, *each[seed]) for n, each in enumerate(volumes)))
        for seed, run in enumerate(runs)
    ]
    pooled = pool_folds(repeats)
    assert [one.status for one in pooled] == ["missed", "false alarm", "found"]
    assert pooled[2].volume_mm3 == 46


def test_folds_are_written_as_json_and_csv(swept: Sweep, tmp_path: Path) -> None:
    write_folds(tmp_path, swept)
    told = json.loads((tmp_path / "folds.json").read_text(encoding="utf-8"))["run"]
    assert (told["folds"], told["missing"]) == (["0", "1"], ["fold-2+seed-0"])
    assert told["dice"]["one"]["mean"] == pytest.approx(0.7)
    one = told["statistics"]["one"]["metrics"]["dice"]  # a .8, b .8 and c .6, each once
    assert (one["n"], one["worst_case"]) == (3, "c") and one["mean"] == pytest.approx(2.2 / 3)
    assert one["interval"]["groups"] == 3 and one["interval"]["method"] == "t"
    with (tmp_path / "folds.csv").open(newline="", encoding="utf-8") as file:
        rows = {(row["metric"], row["label"]): row for row in csv.DictReader(file)}
    assert set(rows) == {("dice", "mean")} | {
        (m, n) for m in ("dice", "hd95_mm", "nsd") for n in ("one", "two")
    }
    assert float(rows["dice", "one"]["standard_error"]) == pytest.approx(0.1)
    assert (rows["dice", "one"]["fold_0"], rows["dice", "one"]["cases"]) == ("0.8", "3")
    assert rows["hd95_mm", "one"]["mean"] == ""


def test_one_fold_alone_is_no_cross_validation(swept: Sweep, tmp_path: Path) -> None:
    alone = Sweep("test", None, swept.entries[:2])
    assert write_folds(tmp_path, alone) == []
    assert not (tmp_path / "folds.json").exists()
