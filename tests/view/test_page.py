"""The page in a browser: it draws every layer, loads nothing from elsewhere, and reports no error."""

import hashlib
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.io.volumes import LabelMap, Volume
from app.view.opened import case_of_run
from app.view.page import contents
from app.view.server import ViewServer
from app.view.viewed_case import PREDICTION, REFERENCE, ViewedCase
from tests.support.runs import HOSTILE, make_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOFTWARE_WEBGL = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PATIENCE_MS = 120_000
LARGE = (512, 512, 300)


@contextmanager
def opened(
    page: dict[str, Any], width: int, scheme: str, patience_ms: int = PATIENCE_MS
) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page once it is drawn, everything it asked for, and everything that went wrong."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    asked: list[str] = []
    wrong: list[str] = []
    with ViewServer(page) as server, playwright.sync_playwright() as driver:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_WEBGL)
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab.on("request", lambda request: asked.append(request.url.removeprefix(server.url)))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        tab.goto(server.url)
        tab.wait_for_selector("body[data-state]", timeout=patience_ms)
        yield tab, asked, wrong
        browser.close()
        server.shutdown()
        thread.join()


def test_every_file_is_sent_and_niivue_is_the_release_that_its_note_names(tmp_path: Path) -> None:
    page = contents(case_of_run(make_run(tmp_path / "run"), None))
    assert {
        "",
        "view.css",
        "view.js",
        "niivue.js",
        "case.json",
        "scan-1.nii",
        "difference.nii",
    } <= page.keys()
    note = Path("app/view/NIIVUE.md").read_text(encoding="utf-8")
    assert hashlib.sha256(page["niivue.js"].data).hexdigest() in note
    assert len(page["niivue.js"].data) < 3e6
    for name in ("", "view.css", "view.js"):
        assert not re.search(rb"https?://|\bon\w+=\"|style=\"", page[name].data)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_in_a_browser(tmp_path: Path, width: int, scheme: str) -> None:
    page = contents(case_of_run(make_run(tmp_path / "run"), "case_a"))
    with opened(page, width, scheme) as (tab, asked, wrong):
        assert (tab.get_attribute("body", "data-state"), wrong) == ("ready", [])
        assert {"", "niivue.js", "case.json", "scan-0.nii", "reference.nii"} <= set(asked)
        assert not [url for url in asked if "//" in url and not url.startswith("data:")]
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert HOSTILE in tab.inner_text("#rows")  # as text
        both = picture(tab)
        assert len(set(both)) > 50  # not one empty colour
        tab.keyboard.press("d")
        without = picture(tab)
        assert without != both and not tab.is_checked("#layers input[value=difference]")
        tab.keyboard.press("5")
        assert picture(tab) != without and tab.is_checked("#views input[value=render]")
        tab.keyboard.press("2")
        before = tab.inner_text("#values")
        tab.keyboard.press("PageUp")
        assert tab.inner_text("#values") != before
        tab.fill("#width", "0.5")
        tab.press("#width", "Enter")
        assert tab.evaluate("viewer.volumes[0].cal_max - viewer.volumes[0].cal_min") == pytest.approx(0.5)
        assert wrong == []
        tab.screenshot(path=tmp_path / f"view-{width}.png")


@pytest.mark.slow
def test_a_large_scan_is_drawn_in_slices(tmp_path: Path) -> None:
    """In software this takes minutes and, with three maps, 2.8 GB in the browser."""
    affine = np.diag([0.8, 0.8, 1.0, 1.0])
    scan = np.full((1, *LARGE), -1000, np.float32)
    scan[:, 100:400, 100:400] = 40
    labels = np.zeros(LARGE, np.uint8)
    labels[200:300, 200:300, 100:200] = 1
    predicted = np.roll(labels, 10, axis=0)
    maps = {REFERENCE: LabelMap(affine, labels), PREDICTION: LabelMap(affine, predicted)}
    case = ViewedCase("large", Volume(affine, scan), maps, {"block": (1,)})
    patience_ms = 8 * PATIENCE_MS
    with opened(contents(case), 1400, "light", patience_ms) as (tab, asked, wrong):
        assert (tab.get_attribute("body", "data-state"), wrong) == ("ready", [])
        assert {"scan-0.nii", "reference.nii", "prediction.nii", "difference.nii"} <= set(asked)
        assert not tab.evaluate("viewer.opts.multiplanarShowRender")  # 3D is drawn on request only
        both = picture(tab, patience_ms)
        assert len(set(both)) > 50
        tab.keyboard.press("2")
        assert picture(tab, patience_ms) != both
        tab.screenshot(path=tmp_path / "view-large.png", timeout=patience_ms)


def picture(tab: Any, patience_ms: int = PATIENCE_MS) -> bytes:
    shot: bytes = tab.locator("#canvas").screenshot(timeout=patience_ms)
    return shot
