"""What the command line says to a name that does not exist, to --version, --help and the tab key."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from app.cli.group_help import group_help
from app.cli.nearest import nearest
from app.core.errors import InputError


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "run.py", *words])


def run(line: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60, **more
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian.steps=3"], "trian.steps: there is no such name; did you mean train.steps or"),
        (["op=cakes", "op.kernel=1d"], "op.kernel: there is no such name; did you mean op.kernels"),
        (["op=cake"], "op: got 'cake', wanted one of antblock, cakes, .*; did you mean cakes"),
        (["-m", "op=conv3d,cake"], "sweep: op: got 'cake', .*; did you mean cakes"),
        (["sweep=smok"], "sweep: got 'smok', .*; did you mean smoke"),
        (["train"], "got 'train', wanted key=value; did you mean mode=train?"),
        (
            ["experiment=hippocampus_bst"],
            "experiment: got 'hippocampus_bst', .*; did you mean hippocampus_best",
        ),
        (["qqqq=1"], "qqqq: there is no such name; python run.py --help lists what there is"),
        (["--config-dir", "nowhere"], ".*nowhere.* not found"),
        (["--help", "nothing"], "--help: got 'nothing', wanted one of analyze, "),
    ],
)
def test_a_wrong_name_is_answered_in_one_line(words: list[str], message: str) -> None:
    done = call(*words)
    assert done.returncode == 1
    assert re.match(f"error: {message}", done.stderr), done.stderr
    assert done.stderr.count("\n") == 1


def test_the_nearest_comes_first() -> None:
    known = ["task.steps", "train.steps", "train.epoch_steps", "optimizer.lr"]
    assert nearest("trian.steps", known) == ["train.steps", "task.steps"]
    assert nearest("steps", known) == ["task.steps", "train.steps"]
    assert nearest("fold", known) == []


def test_version_is_told() -> None:
    done = call("--version")
    assert done.returncode == 0
    assert f" {__version__} (torch 2." in done.stdout


def test_help_on_a_group_has_its_options_and_the_words_of_their_files(tmp_path: Path) -> None:
    (tmp_path / "color").mkdir()
    (tmp_path / "config.yaml").write_text(
        "defaults:\n  - color: red\n\ncolor:\n  depth: 8  # bits\nseed: 0\n"
    )
    (tmp_path / "color" / "blue.yaml").write_text("# @package _global_\n# cold\nhue: 240\n")
    (tmp_path / "color" / "red.yaml").write_text("# warm\nhue: 0  # degrees\n")
    assert group_help(tmp_path, "color").splitlines() == [
        *("color=blue  cold", "color=red   warm", "", "default: red", ""),
        *("# warm", "hue: 0  # degrees", "", "color:", "  depth: 8  # bits"),
    ]
    with pytest.raises(InputError, match="got 'seed', wanted one of color, defaults"):
        group_help(tmp_path, "seed")


@pytest.mark.skipif(shutil.which("bash") is None, reason="completes in bash")
def test_the_tab_key_completes_names() -> None:
    script = """
        eval "$(python run.py --shell-completion install=bash)"
        COMP_LINE="python run.py op=c" COMP_WORDS=(python run.py op=c) COMP_CWORD=2
        COMP_POINT=${#COMP_LINE}
        hydra_bash_completion
        echo "${COMPREPLY[@]}"
    """
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert run(["bash", "-c", script], env=here).stdout.split() == ["op=cakes", "op=conv2d", "op=conv3d"]
