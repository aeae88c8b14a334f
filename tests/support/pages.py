"""Pages of the report, read as a browser reads them."""

import re
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

from app.report.page.page import write_report


class Page(HTMLParser):
    """What a browser would load or run, and what it would show: as a whole and by the id of the section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.texts: defaultdict[str, str] = defaultdict(str)
        self.figures: defaultdict[str, int] = defaultdict(int)
        self.remarks: defaultdict[str, list[str]] = defaultdict(list)
        self.machines: list[str] = []
        self._section = "header"
        self._paragraph: str | None = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag == "section":
            self._section = known["id"] or ""
        self.figures[self._section] += tag == "figure"
        if tag == "p":
            self._paragraph = known.get("class")
            if self._paragraph == "remark":
                self.remarks[self._section].append("")
            if self._paragraph == "machine":
                self.machines.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self._paragraph = None

    def handle_data(self, data: str) -> None:
        self.text += data
        self.texts[self._section] += data
        if self._paragraph == "remark":
            self.remarks[self._section][-1] += data
        if self._paragraph == "machine":
            self.machines[-1] += data


def report(tmp_path: Path, runs: Path) -> Page:
    write_report([runs], tmp_path / "report.html")
    return Page(tmp_path / "report.html")


def cells_with(page: Page, mark: str) -> list[list[str]]:
    """Return the cells of every table row that contains a mark, without the row's name."""
    rows = re.findall(r"<tr>.*?</tr>", page.source, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows if mark in row]
