"""The command: one address, one line at Ctrl-C, and clear errors."""

import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from app.cli.modes.view import run as view
from app.core.errors import InputError
from tests.support.cli import HANG, command
from tests.support.config import composed
from tests.support.runs import make_run


@pytest.mark.e2e
def test_it_serves_until_interrupted_and_writes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    line = command(tmp_path, "mode=view", f"view.run={run}", "view.case=case_a", "view.browser=false")
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+/[\w-]+/", first)
        with urllib.request.urlopen(url + "case.json", timeout=60) as answer:
            assert b"case_a" in answer.read()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(url.replace(url.split("/")[3], "x" * 32), timeout=60)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=HANG)
        rest = process.stdout.read().splitlines()
    assert (process.returncode, len(rest)) == (0, 2)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "view.run"),
        (["view.run=a", "view.scan=b"], "view.scan"),
        (["view.scan=b", "view.case=c"], "view.case"),
        (["view.scan=nowhere.nii.gz"], "nowhere.nii.gz"),
        (["view.scan=b", "view.port=70000"], "view.port: got 70000"),
        (["view.scan=b", "view.port=-1"], "view.port: got -1"),
    ],
)
def test_what_cannot_be_shown_is_named(words: list[str], named: str) -> None:
    with pytest.raises(InputError, match=named):
        view(composed("mode=view", *words))
