"""A search as a user calls it: what it writes, and what is refused."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import assert_refused, call, call_here, command

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def searched(place: Path) -> Path:
    """The folder of a search by evolution."""
    how = ("search.method=evolve", "search.trials=30")
    settings = (*how, "search.cost=macs", "search.budget=0.3", "search.align=8")
    done = call(place, "mode=search", "train=smoke", *settings, f"paths.run={place / 'searched'}")
    assert done.returncode == 0, done.stderr
    return place / "searched"


def test_a_search_writes_a_layout_that_trains_from_its_weights(searched: Path, place: Path) -> None:
    for name in ("layout.yaml", "layout.png", "summary.json", "last.pt"):
        assert (searched / name).is_file()
    summary = json.loads((searched / "summary.json").read_text(encoding="utf-8"))
    assert summary["trials"] == 30 and summary["layout"]["share"] <= 0.3
    assert summary["layout"]["macs_per_patch"] < summary["dense"]["macs_per_patch"]
    layout = f"op.layout={searched / 'layout.yaml'}"
    done = call(
        *(place, "train=smoke", "op=cakes", layout, f"train.init={searched}"),
        f"paths.run={place / 'inherited'}",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((place / "inherited" / "summary.json").read_text(encoding="utf-8"))
    assert found["params"] == summary["layout"]["params"]


def test_a_search_under_milliseconds_keeps_what_it_measured(place: Path) -> None:
    """Budget 1: how long kernels take here is not for a test to say, but the dense layout always meets it."""
    settings = ("search.method=evolve", "search.cost=latency", "search.budget=1", "search.trials=24")
    done = call(place, "mode=search", "train=smoke", *settings, f"paths.run={place / 'latency'}")
    assert done.returncode == 0, done.stderr
    summary = json.loads((place / "latency" / "summary.json").read_text(encoding="utf-8"))
    assert 0 < summary["layout"]["share"] <= 1
    assert json.loads((place / "cache" / "latency.json").read_text(encoding="utf-8"))["ms"]


def test_a_search_that_cannot_be_is_one_line_with_key_and_values(
    searched: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    layout = f"op.layout={searched / 'layout.yaml'}"
    for number, (arguments, tokens) in enumerate(
        (
            (
                ["mode=search", "search.method=evolve", "search.budget=0.01", "search.cost=macs"],
                [r"search\.budget", r"\b0\.01\b", r"\b0\.1112\b"],
            ),
            (["mode=search", "search.budget=2"], [r"search\.budget", r"times"]),
            (["mode=search", "search.kernels=7d"], [r"\bkernels\b", r"\b7d\b", r"\b12d\b"]),
            (["mode=search", "search.where=[stem]"], [r"\bwhere\b", r"\bstem\b", r"\bencoder\b"]),
            (
                ["op=cakes", layout, "plan.base_width=8"],
                [r"op\.layout", r"encoder\.0\.0\b", r"\b16\b", r"\b8\b"],
            ),
            (["op=conv3d", f"train.init={searched}"], [r"train\.init", r"op\.layout"]),
        )
    ):
        run = f"paths.run={place / 'impossible' / str(number)}"
        words = command(place, "train=smoke", *arguments, run)[2:]
        code, told = call_here(*words, monkeypatch=monkeypatch), capfd.readouterr()
        assert_refused(subprocess.CompletedProcess(words, code, *told), *tokens)
