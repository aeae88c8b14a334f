"""One range per package: requirements.txt, pyproject.toml, extras, CI and the hints of messages agree."""

import re
import tomllib
from pathlib import Path

from app.core.optional import RELEASES

NAMED = re.compile(r'"([A-Za-z0-9-]+)([<>=][^"]*)"')
PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]


def split(requirement: str) -> tuple[str, str]:
    name, versions = re.fullmatch(r"([A-Za-z0-9-]+)([<>=].*)", requirement).groups()  # type: ignore[union-attr]
    return name, versions


def test_both_lists_of_what_runs_are_the_same() -> None:
    lines = Path("requirements.txt").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    listed = [line.split("#")[0].strip() for line in lines if not line.startswith("#")]
    assert listed == PROJECT["dependencies"]


def test_extras_and_ci_have_the_releases_that_messages_name() -> None:
    extras = {split(line) for lines in PROJECT["optional-dependencies"].values() for line in lines}
    named = {(name, versions) for name, versions in extras if not name.startswith("mkdocs")}
    ranges = dict(named)
    assert len(ranges) == len(named)
    assert ranges == {name: versions for name, versions in RELEASES.items() if versions}
    installed = NAMED.findall(Path(".ci/run").read_text(encoding="utf-8"))
    assert installed and set(installed) <= extras


def test_the_pages_name_the_releases_of_the_extras() -> None:
    known = {split(line) for lines in PROJECT["optional-dependencies"].values() for line in lines}
    known |= {split(line) for line in PROJECT["dependencies"]}
    for page in Path("docs").glob("*.md"):
        commands = re.findall(r"pip install[^`\n]*", page.read_text(encoding="utf-8"))
        assert set(NAMED.findall(" ".join(commands))) <= known, page
