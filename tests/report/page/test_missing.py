"""What a page lacks is named where it would be."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from app.core.files import write_json
from tests.support.pages import report
from tests.support.runs import make_run, write_volume

pytestmark = pytest.mark.e2e

NAMED = {
    **{"environment.json": "results", "summary.json": "results", "metrics.csv": "curves"},
    **{"cases.csv": "spread", "split.json": "cases", "plan.yaml": "cost"},
}
"""Files of a run, and the section of the page whose remark names a missing one."""


@pytest.mark.parametrize("absent", NAMED)
def test_missing_file_is_named(tmp_path: Path, absent: str) -> None:
    folder = make_run(tmp_path / "run_7")
    (folder / absent).unlink()
    shutil.rmtree(folder / "predictions")  # pictures take most of the time
    remarks = report(tmp_path, folder).remarks[NAMED[absent]]
    assert len([remark for remark in remarks if absent in remark and "run_7" in remark]) == 1


def test_missing_prediction_and_layout_are_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run_7")
    (folder / "predictions" / "case_b.nii.gz").unlink()
    (folder / "layout.yaml").unlink()
    page = report(tmp_path, folder)
    (of_case,), (of_kernels,) = page.remarks["cases"], page.remarks["kernels"]
    assert str(folder / "predictions" / "case_b.nii.gz") in of_case
    assert "layout.yaml" in of_kernels and "run_7" in of_kernels


def test_prediction_on_another_grid_is_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    write_volume(folder / "predictions" / "case_b.nii.gz", np.zeros((4, 4, 4), np.uint8))
    (remark,) = report(tmp_path, folder).remarks["cases"]
    for size in ("(4, 4, 4)", "(12, 14, 10)"):
        assert size in remark


def test_value_without_a_name_is_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    write_volume(folder / "predictions" / "case_b.nii.gz", np.full((12, 14, 10), 9, np.uint8))
    (remark,) = report(tmp_path, folder).remarks["cases"]
    assert re.findall(r"\d+", remark) == ["9"]


def test_a_series_is_no_missing_file_and_a_search_lacks_no_scores(tmp_path: Path) -> None:
    """A DICOM series is a folder that is not drawn; a search never evaluates."""
    folder = make_run(tmp_path / "run")
    split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    (tmp_path / "series").mkdir()
    split["files"]["case_a"]["image"] = str(tmp_path / "series")
    write_json(folder / "split.json", split)
    (remark,) = report(tmp_path, folder).remarks["cases"]
    assert str(tmp_path / "series") in remark and "NIfTI" in remark
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    write_json(folder / "summary.json", {**summary, "decode_seconds": 1.0})
    (folder / "cases.csv").unlink()
    assert "cases.csv" not in report(tmp_path, folder).text


def test_run_without_results_beside_others_is_left_out_and_named(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "done")
    (tmp_path / "runs" / "planned").mkdir()
    (tmp_path / "runs" / "planned" / "config.yaml").write_text("seed: 0\n")
    page = report(tmp_path, tmp_path / "runs")
    (remark,) = [text for text in page.remarks["results"] if str(tmp_path / "runs" / "planned") in text]
    assert "summary.json" in remark and "metrics.csv" in remark
    assert "planned" not in page.text.replace(remark, "")
