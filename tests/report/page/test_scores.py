from dataclasses import replace
from pathlib import Path

from app.metrics.score import Score
from app.report.page.scores import by_case, by_label, by_stratum, every_metric, method_note
from app.report.read.ranking import notable_cases
from app.report.read.runs import Run, read_runs
from tests.support.runs import make_run


def run_of(folder: Path) -> Run:
    (run,) = read_runs([make_run(folder / "run")])
    scores = [
        Score(
            f"case_{n}", "one", {"dice": n / 10, "volume_error": 0.1 * n, "hd95_mm": 10.0 - n}, 1, 1000.0 * n
        )
        for n in range(1, 10)
    ]
    missed = Score("missed", "one", {"dice": 0.0, "hd95_mm": 90.0, "volume_error": -1.0}, 0, 500)
    alarm = Score("alarm", "one", {"dice": None}, 700, 0)
    columns = {"site": {f"case_{n}": "north" for n in range(1, 10)}}
    summary = replace(run.summary, dice={"one": 0.5})
    return replace(run, scores=(*scores, missed, alarm), columns=columns, summary=summary)


def test_tables_of_a_run_say_what_is_missed_and_how_sure_means_are(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    ((label, *cells),) = by_label(run.scores or (), run.labels()).rows
    assert (label, cells[0], cells[6:]) == ("one", "0.450", ["10", "1", "1"])
    assert cells[1] == "0.233 to 0.667"  # t of nine degrees of freedom, standard error .0957
    assert cells[2:5] == ["0.450", "0.000", "13.50"]
    rows = {row[0]: row[1:] for row in every_metric(run).rows}
    assert rows["one: Volume error"][:3] == ("10", "1", "+35.0 %")
    assert rows["one: HD95 (mm)"][-2:] == ("90.00", "missed")
    assert "Student" in method_note(run) and "10 groups" in method_note(run)
    assert by_case(run).rows[0][:4] == ("missed", "one", "missed", "0.000")


def test_strata_are_columns_and_sizes(tmp_path: Path) -> None:
    table = by_stratum(run_of(tmp_path))
    assert table is not None
    assert [row[1:4] for row in table.rows] == [
        ("site", "north", "9"),
        ("size", "small, 0.5 to 2 ml", "3"),
        ("size", "medium, 3 to 5 ml", "3"),
        ("size", "large, 6 to 9 ml", "4"),
    ]


def test_failures_are_shown_first_and_each_case_once(tmp_path: Path) -> None:
    ranked = notable_cases(run_of(tmp_path))
    assert [(one.place, one.case, one.failing) for one in ranked] == [
        ("False alarm: one", "alarm", ("one",)),
        ("Missed: one", "missed", ("one",)),
        ("Median", "case_4", ()),
        ("Best", "case_9", ()),
    ]


def test_the_method_of_intervals_is_told_for_all_labels(tmp_path: Path) -> None:
    common = [Score(f"case_{n}", "common", {"dice": n / 100}, 1, 1) for n in range(60)]
    rare = [Score(f"case_{n}", "rare", {"dice": n / 100}, 1, 1) for n in range(7)]
    run = replace(run_of(tmp_path), scores=(*common, *rare))
    note = method_note(run)
    assert "bootstrap over 60 groups" in note and "Student's t over 7 groups" in note and "below 50" in note
    assert "bootstrap" not in method_note(replace(run, scores=tuple(rare)))
    assert method_note(replace(run, scores=())) == ""


def test_only_tubes_have_rows_of_centre_lines(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    tube = Score("case_1", "vessel", {"dice": 0.5, "cldice": 0.75}, 1, 1)
    other = Score("case_1", "organ", {"dice": 0.5, "cldice": None}, 1, 1)  # as an empty cell is read
    rows = {row[0]: row[1:] for row in every_metric(replace(run, scores=(tube, other))).rows}
    assert rows["vessel: clDice"][:3] == ("1", "0", "0.750") and "organ: clDice" not in rows
