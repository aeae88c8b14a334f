"""The report over small synthetic run folders: right numbers, escaped text, missing files named."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import InputError
from app.report.draw.pictures import fullest_planes
from app.report.page.page import write_report
from app.report.read.ranking import notable_cases
from app.report.read.runs import read_runs
from app.report.read.scans import read_scan
from app.report.wording import DASH, duration
from tests.support.pages import Page, cells_with, report
from tests.support.runs import HOSTILE, make_run, write_volume

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("whole")
    return report(folder, make_run(folder / "run"))


def test_warnings_about_scans_are_listed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    warnings = [f"1 of 3 scans (case_a): {HOSTILE}", "2 of 3 scans (case_b, case_c): lengths are in metres"]
    (run / "fingerprint.json").write_text(json.dumps({"warnings": warnings}))
    write_report([run], tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert page.remarks["results"] == warnings and "script" not in page.tags


def test_page_has_the_numbers_of_the_run(page: Page) -> None:
    assert cells_with(page, ">4.32 G<") == [
        ["0.775", "0.800", "0.750", "2.50", "0.910", "0 of 6", "1,234,567", "4.32 G", "1 min 02 s"]
    ]
    assert cells_with(page, ">cakes<") == [["1,000", "2,000", "512", "unet", "cakes", "0", "7"]]
    for text in ("phantom", "2025-03-04", "2.6.0", duration(61.5), "32, 40, 48", "fits the memory"):
        assert text in page.text
    assert not any(page.remarks.values())  # nothing is missing


def test_page_needs_nothing_from_outside(page: Page) -> None:
    assert not re.search(r"https?://", page.source)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not {"script", "iframe", "object"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))


def test_a_page_may_load_the_empty_icon_that_it_names() -> None:
    """Browsers ask for an icon; a page that names one but forbids it writes an error to the console."""
    for path in Path("app/report/page").glob("*.html"):
        source = path.read_text(encoding="utf-8")
        assert 'rel="icon" href="data:,"' in source
        (policy,) = re.findall(r'"Content-Security-Policy" content="(.+?)"', source)
        assert "img-src data:" in policy


def test_hostile_label_is_text(page: Page) -> None:
    assert "<script" not in page.source
    for section in ("results", "curves", "spread", "cases"):
        assert HOSTILE in page.texts[section]


def test_worst_median_and_best_case_are_drawn(page: Page, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    ranked = notable_cases(read_runs([folder])[0])
    assert [(case.place.lower(), case.case) for case in ranked] == [
        ("worst", "case_b"),
        ("median", "case_a"),
        ("best", "case_c"),
    ]
    assert [case.mean_dice for case in ranked] == pytest.approx([0.5, 0.8, 0.9])
    pictures = [link for link in page.links if link.startswith("data:image/webp")]
    assert len(pictures) == 3 * (7 + 6 + 6)  # at most seven; marked are 8 along R, 6 along A, 5 + 1 along S
    assert page.tags.count("fieldset") == 9
    assert page.source.count("checked>") == 9
    assert all(base64.b64decode(link.partition(",")[2])[8:12] == b"WEBP" for link in pictures)


def test_pictures_show_the_best_of_several_runs(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "poor", mean_dice=0.5)
    make_run(tmp_path / "runs" / "good", mean_dice=0.9)
    page = report(tmp_path, tmp_path / "runs")
    assert re.search(r"\b2\b", page.texts["header"])  # runs compared
    for section in ("cases", "spread"):
        assert "good" in page.texts[section]
    assert "poor" not in page.texts["cases"]
    assert page.source.count("checked>") == 9


def test_contours_are_those_of_the_regions(tmp_path: Path) -> None:
    """A region's contour holds all of its values; the ignored value needs none."""
    folder = make_run(tmp_path / "run")
    task = {"regions": {"whole": [1, 2], "core": [2]}, "ignore": "unknown"}
    (folder / "config.yaml").write_text(json.dumps({"task": task}), encoding="utf-8")
    (run,) = read_runs([folder])
    assert run.label_values == {"whole": (1, 2), "core": (2,)} and run.ignored_value == 3
    scan = read_scan(run, "case_a")
    outlined = []
    for values in ([(1, 2)], [(1,)]):
        ((_, figure), *_) = fullest_planes(scan, values)
        outlined.append(
            sum(len(path.vertices) for drawn in figure.axes[0].collections for path in drawn.get_paths())
        )
    assert outlined[0] > outlined[1]
    for value, named in ((3, []), (4, [["4"]])):
        write_volume(folder / "predictions" / "case_b.nii.gz", np.full((12, 14, 10), value, np.uint8))
        remarks = report(tmp_path, folder).remarks["cases"]
        assert [re.findall(r"\d+", remark) for remark in remarks] == named


def test_folder_without_results_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "nothing"))) as error:
        write_report([tmp_path / "nothing"], tmp_path / "report.html")
    for name in ("summary.json", "metrics.csv"):
        assert name in str(error.value)


def test_broken_number_is_an_input_error(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "cases.csv").write_text("case,label,dice,hd95_mm,nsd\ncase_a,one,high,1,1\n")
    with pytest.raises(InputError, match=re.escape(str(folder / "cases.csv"))) as error:
        write_report([folder], tmp_path / "report.html")
    for token in (r"\b2\b", r"\bdice\b", r"\bhigh\b"):  # line, column and value
        assert re.search(token, str(error.value))


def test_same_runs_give_the_same_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    assert report(tmp_path, folder).source == report(tmp_path, folder).source


def test_milliseconds_beside_the_runs_are_columns(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("dense", "mixed", "later"):
        make_run(runs / name)
    (runs / "timings.csv").write_text(
        "run,forward_ms,step_ms,machine\ndense,41.25,180.5,two cores\nmixed,20.75,,two cores\n"
    )
    page = report(tmp_path, runs)
    assert len([machine for machine in page.machines if "two cores" in machine]) == 1
    assert not page.remarks["results"]
    assert page.figures["comparison"] == 1  # Dice against latency, the only cost that differs
    cells = [row[3:5] for row in cells_with(page, ">cakes<")]
    assert cells == [["41.2", "180.5"], [DASH, DASH], ["20.8", DASH]]  # by name: dense, later, mixed
    (runs / "timings.csv").write_text("run,forward_ms,step_ms,machine\ndense,1,2,host_1\nmixed,3,4,host_2\n")
    (remark,) = report(tmp_path, runs).remarks["results"]
    assert "host_1" in remark and "host_2" in remark
    (runs / "timings.csv").rename(tmp_path / "timings.csv")
    page = report(tmp_path, runs)
    assert "host_" not in page.text and not page.figures["comparison"]  # its names are of another folder
    (tmp_path / "timings.csv").write_text("run,forward_ms,step_ms,machine\nruns/dense,1,2,host_1\n")
    assert len([machine for machine in report(tmp_path, runs).machines if "host_1" in machine]) == 1
