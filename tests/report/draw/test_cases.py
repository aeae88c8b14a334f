"""The slices on which the pictures of a case open."""

from pathlib import Path

import numpy as np
import pytest

from app.core.files import read_json, write_json
from app.report.draw.cases import case_views
from app.report.read.runs import read_runs
from tests.support.runs import make_run, write_volume


@pytest.mark.parametrize("missed", [False, True])
def test_pictures_open_where_judged_voxels_are_wrong(tmp_path: Path, missed: bool) -> None:
    """Most of the reference is ignored, and the prediction has a label there."""
    folder = make_run(tmp_path / "run")
    reference, prediction = np.zeros((2, 12, 14, 10), np.uint8)
    reference[:, :, 2], prediction[:, :, 2] = 3, 1
    reference[2:5, 2:5, 7] = 1
    write_volume(folder / "case_b_label.nii.gz", reference)
    write_volume(folder / "predictions" / "case_b.nii.gz", prediction)
    split = read_json(folder / "split.json")
    write_json(folder / "split.json", {**split, "ignored_value": 3, "label_values": [0, 1, 2, 3]})
    rows = ["case,label,dice,volume_mm3,reference_mm3", f"case_b,one,0.1,{0 if missed else 10},11"]
    (folder / "cases.csv").write_text("\n".join([*rows, "case_c,one,0.9,10,11", ""]))
    (folder / "case_c_image.nii.gz").unlink()  # not drawn, which is faster
    worst = case_views(read_runs([folder])[0])[0]
    assert worst.ranked.place == ("Missed: one" if missed else "Worst")
    axial = worst.planes[0]
    assert [one.text for one in axial.slices if one.fullest] == ["slice 8 of 10"]
