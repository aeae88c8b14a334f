"""What the benchmarks of prediction report, apart from times."""

import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from app.core.csv_file import read_csv
from app.core.files import read_json, write_json, write_text
from app.core.task import GroupRule
from app.data.sets.decathlon import read_task
from app.data.sets.recorded import recorded_cases
from app.infer.batch.case_dice import dice_of_cases
from app.infer.batch.manifest import Manifest
from app.infer.batch.predict import predict_scans
from app.infer.scan.segmenter import Segmenter
from tests.benchmarks import by_case, fine_tuning, paired_runs, partial_labels
from tests.benchmarks.confidence import ALL, Point, draw, means_of_cases, pairs_of, points_of_run, spearman
from tests.benchmarks.processes import spend
from tests.benchmarks.sliding import largest_loss, outcome, variants
from tests.support.config import TINY
from tests.support.runs import NIFTI, trained_run
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

MIRRORED = "{augment: {flip_axes: [0]}, infer: {overlap: 0.25, windows: 2, mirror_axes: [0]}}"


def test_held_out_cases_are_judged_with_the_confidence_of_the_manifest(
    make_task: MakeTask, tmp_path: Path
) -> None:
    run, output = trained_run(make_task, tmp_path, steps=1).run, tmp_path / "out"
    write_text(run / "config.yaml", MIRRORED)
    segmenter, cases = Segmenter.load(run), recorded_cases(run, "validation")
    predict_scans(segmenter, [cases[0].image], output, NIFTI, Manifest(output, {}))
    told = read_json(output / "manifest.json")["cases"][cases[0].id]["confidence"]
    (point,) = points_of_run(run, None)
    assert point.confidence == {name: told[name]["blob"] for name in ("soft_dice", "agreement")}
    assert point.dice == dice_of_cases(segmenter, cases)[cases[0].id]["blob"]
    evaluated, *changed = variants(segmenter.sliding).values()
    (unmirrored,) = (sliding for sliding in changed if not sliding.mirror_axes)
    mirrored, plain = (
        outcome(replace(segmenter, sliding=sliding), cases) for sliding in (evaluated, unmirrored)
    )
    assert mirrored.voxels == 2 * plain.voxels > 0 and mirrored.dice == {cases[0].id: {"blob": point.dice}}


def test_fine_tuning_is_measured_on_the_same_patients_and_goes_on(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target, source = (make_task(cases=4, name=name) for name in ("Task90_Target", "Task91_Source"))
    small = " ".join(word for word in TINY if not word.startswith("task="))
    asked = (
        f"--target {target} --source {source} --patients 1 --held-out 2 --seeds 0 --steps 1 --source-steps 1"
    )
    words = f"{asked} --out {tmp_path / 'out'} {small}".split()
    monkeypatch.setattr(sys, "argv", ["fine_tuning", *words])
    fine_tuning.main()
    rows = read_csv(tmp_path / "out" / "fine_tuning.csv")
    assert [(row["start"], row["patients"]) for row in rows] == [("scratch", "1"), ("Task91_Source", "1")]
    split = read_json(tmp_path / "out" / "split_1.json")
    assert (len(split["train"]), len(split["validation"])) == (1, 2)
    record = read_json(tmp_path / "out" / "Task91_Source_1_0" / "init.json")
    assert not [name for name in record["fresh"] if not name.startswith("heads")]
    monkeypatch.setattr(paired_runs, "run", None)  # everything is there
    fine_tuning.main()
    assert read_csv(tmp_path / "out" / "fine_tuning.csv") == rows
    assert capsys.readouterr().out.count("| scratch |") == 2


def test_partial_labels_are_measured_on_the_same_cases(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_task(cases=4, name="Task92_Data")
    facts = read_json(data / "dataset.json")
    write_json(data / "dataset.json", {**facts, "labels": {"0": "background", "1": "blob", "2": "middle"}})
    for path in data.glob("labelsTr/*"):
        labels = np.asarray(nib.load(path).dataobj)
        nib.save(nib.Nifti1Image(labels + binary_erosion(labels).astype(np.uint8), np.eye(4)), path)
    small = " ".join(word for word in TINY if not word.startswith("task="))
    words = f"--data {data} --held-out 2 --seeds 0 --steps 1 --out {tmp_path / 'out'} {small}".split()
    monkeypatch.setattr(sys, "argv", ["partial_labels", *words])
    partial_labels.main()
    rows = read_csv(tmp_path / "out" / "partial_labels.csv")
    assert [row["group"] for row in rows] == ["full", "partial", "unsaid"]
    train = read_json(tmp_path / "out" / "split.json")["train"]
    task = read_task(tmp_path / "out" / "sets" / "partial")
    kept = {case.id: case.annotated for case in task.cases if case.annotated}
    assert kept == {train[0]: (1,), train[1]: (2,)}
    for case in task.cases:
        found = set(np.unique(np.asarray(nib.load(case.label).dataobj)))
        assert found == {0, *kept.get(case.id, (1, 2))}
    assert capsys.readouterr().out.count("| full |") == 1


def test_networks_are_compared_on_the_cases_that_both_scored() -> None:
    scores = {
        "base": {"a1": (0.5, 0.7), "a2": (0.4, 0.4), "a3": (0.9, 0.9)},
        "ours": {"a1": (0.8, 0.6), "a3": (1, 1)},
    }
    rows = [
        {"network": name, "case": case, "label": label, "dice": str(value)}
        for name, cases in scores.items()
        for case, values in cases.items()
        for label, value in zip(("x", "y"), values, strict=True)
    ]
    _, _, line = by_case.table(rows, "base", GroupRule(by_case.PATTERN, 2)).splitlines()
    assert line.startswith("| ours | 2 | .8500 | .7500 | +.1000 (")


def test_confidence_is_correlated_by_label_and_over_labels(tmp_path: Path) -> None:
    dice = {"one": (0.2, 0.4, 0.9, 0.8), "two": (0.1, 0.2, 0.3, 0.35)}
    points = [
        Point(str(case), label, value, {"soft_dice": (case + 1) / 5, **({"agreement": 0.5} if case else {})})
        for label, values in dice.items()
        for case, value in enumerate(values)
    ]
    points += means_of_cases(points)
    assert pairs_of(points, ALL, "soft_dice")[1] == (0.4, pytest.approx(0.3))
    found = {label: spearman(pairs_of(points, label, "soft_dice")) for label in (*dice, ALL)}
    assert {label: result and result[0] for label, result in found.items()} == pytest.approx(
        {"one": 0.8, "two": 1.0, ALL: 0.8}
    )
    assert len(pairs_of(points, "one", "agreement")) == 3
    assert spearman(pairs_of(points, "one", "agreement")) is None
    draw(points, tmp_path / "confidence.png")
    assert (tmp_path / "confidence.png").read_bytes().startswith(b"\x89PNG")


def test_the_largest_loss_is_of_one_case_and_label() -> None:
    before = {"a": {"x": 0.9, "y": None}, "b": {"x": 0.5, "y": 0.5}}
    assert largest_loss(before, before) == 0
    assert largest_loss(before, {"a": {"x": 0.8, "y": None}, "b": {"x": 0.6, "y": 0.5}}) == pytest.approx(0.1)
    assert largest_loss(before, {"a": {"x": 0.9, "y": 0.0}, "b": {"x": 0.5, "y": 0.5}}) == 1


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_a_command_is_measured_with_the_processes_it_starts() -> None:
    hold = "data = b'x' * 60_000_000; import time; time.sleep(2)"
    both = (
        f"data = b'x' * 60_000_000; import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    )
    spent = spend([sys.executable, "-c", both])
    assert spent.together > 120e6 > spent.largest > 60e6
    fail = "import sys; print('the' + 'output'); sys.exit(40 + 2)"
    with pytest.raises(RuntimeError, match="theoutput") as error:
        spend([sys.executable, "-c", fail])
    assert "42" in str(error.value).replace(sys.executable, "")
