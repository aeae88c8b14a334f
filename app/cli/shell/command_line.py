"""The border of the command line: its version, help on one group, and names that do not exist."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import CompactHydraException

from app import __version__
from app.cli.config.exit_codes import exit_codes
from app.cli.config.suggest import explain
from app.cli.shell.help import group_help
from app.cli.sweep.jobs import ALL_FOLDS
from app.train.torchrun import one_voice

_CONF = Path(__file__).parents[3] / "conf"
_RAISE = "HYDRA_FULL_ERROR"
"""Hydra then raises what it would print over several lines; users set it to see the traceback."""


@contextmanager
def command_line(words: Sequence[str]) -> Iterator[None]:
    """Answer `--version` and `--help <name>` and exit; tell a wrong name in one line, exit code 1.

    `fold=all` makes a multirun of the command.
    """
    with exit_codes():
        _answer(words)
    if ALL_FOLDS in words:
        sys.argv.append("--multirun")
    if os.environ.get(_RAISE) == "1":
        yield
        return
    os.environ[_RAISE] = "1"
    try:
        yield
    except CompactHydraException as error:
        with one_voice() as speaks:
            if speaks:
                print(f"error: {_explained(error, words)}", file=sys.stderr)
        sys.exit(1)
    finally:
        del os.environ[_RAISE]


def _answer(words: Sequence[str]) -> None:
    """Say what is asked for and exit; do nothing where nothing is.

    Raises:
        InputError: help is asked for on what does not exist.
    """
    if "--version" in words:
        parts = [f"{name} {version(name)}" for name in ("torch", "monai", "hydra-core")]
        print(f"3D medical image segmentation {__version__} ({', '.join(parts)})")
        sys.exit(0)
    if words[:1] == ["--help"] and len(words) == 2 and "=" not in words[1]:
        print(group_help(_CONF, words[1]))
        sys.exit(0)


def _explained(error: CompactHydraException, words: Sequence[str]) -> str:
    overrides = [word for word in words if "=" in word and not word.startswith("-")]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(_CONF), version_base="1.3"):
        return explain(error, overrides, GlobalHydra.instance().config_loader())
