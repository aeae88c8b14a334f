"""The outermost layer of the command line: version, help on a name, earlier names, and wrong names."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

import hydra
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

import app
from app.cli.config.command_settings import ALL_FOLDS
from app.cli.config.exit_codes import end_interrupted, exit_codes, tracebacks
from app.cli.config.paths import readable
from app.cli.config.suggest import check_choices, explain, proposed
from app.cli.shell.help import fitted, general_help, group_help, setting_names
from app.core.errors import InputError, interrupts_kept
from app.core.renamed import renamed_override
from app.core.signals import ignore_at_exit, interruptible
from app.train.machine.torchrun import one_voice, process_rank

_PACKAGE = Path(app.__file__).parent
CONF = next(folder for folder in (_PACKAGE.parent / "conf", _PACKAGE / "conf") if folder.is_dir())
"""The configuration folder: next to the package in a checkout, inside it in an installed distribution."""
_PLUGINS = str(_PACKAGE / "cli" / "plugins")
_SEVERAL = ("-m", "--multirun", "sweep=", "mode=tune", ALL_FOLDS)
"""Beginnings of words that make a command run several jobs."""
_VALUED = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
)
"""Flags of Hydra that a value follows."""
_NULL = "=null"
_RAISE = "HYDRA_FULL_ERROR"
"""Variable that makes Hydra raise its errors instead of printing them over several lines.

Users set it to see the traceback.
"""


def main() -> None:
    """Run the command in sys.argv."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console without UTF-8 shows ? for unknown characters
    try:
        with interruptible(), command_line(sys.argv[1:]):
            _compose_and_run()
    finally:
        ignore_at_exit()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _compose_and_run(cfg: DictConfig) -> None:
    from app.cli.shell.main import run  # here, because help and refused commands start without it

    run(cfg)


@contextmanager
def command_line(words: Sequence[str]) -> Iterator[None]:
    """Answer `--version` and `--help [<name>]` and exit; for a wrong name print one line and exit with 1.

    Earlier names in sys.argv are replaced, with a note. `fold=all` turns the command into a multirun.
    """
    asked = os.environ.get(_RAISE) == "1"
    with tracebacks(shown=asked), exit_codes():
        _answer(words)
        _refuse_dashes(words)
        words = today(words)
        sys.argv[1:] = [*flags_last(words), *(["--multirun"] if ALL_FOLDS in words else [])]
        find_plugins()
    if asked:
        with tracebacks(shown=True):
            yield
        return
    os.environ[_RAISE] = "1"
    try:
        with interrupts_kept():
            yield
    except KeyboardInterrupt as note:
        end_interrupted(note)
    except CompactHydraException as error:
        with one_voice() as speaks:
            if speaks:
                print(f"error: {_explained(error, words)}", file=sys.stderr)
        sys.exit(1)
    finally:
        del os.environ[_RAISE]


def today(words: Sequence[str]) -> list[str]:
    """Return words with current names and readable paths; print a note for each replaced name.

    `experiment=null`, and null for any other group without a default, becomes `~experiment`.

    Raises:
        InputError: a group is set to null, to a number or to values by name.
    """
    found = [word if word.startswith("-") else renamed_override(word) for word in words]
    for old, new in zip(words, found, strict=True):
        if old != new and process_rank() == 0:
            print(f"note: {old} is now called {new}", file=sys.stderr)
    removed = _without_default()
    found = [f"~{word.removesuffix(_NULL)}" if word in removed else word for word in found]
    check_choices(found, CONF)
    return readable(found, several=any(word.startswith(_SEVERAL) for word in found))


def _without_default() -> set[str]:
    """Return the words that leave a group without a default as it is, such as `experiment=null`."""
    defaults = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    choices = [choice for entry in defaults if isinstance(entry, dict) for choice in entry.items()]
    return {f"{group}{_NULL}" for group, option in choices if option is None}


def flags_last(words: Sequence[str]) -> list[str]:
    """Return overrides, then flags with their values: Hydra takes overrides on one side of a flag only."""
    found: dict[bool, list[str]] = {False: [], True: []}
    for before, word in zip(("", *words), words, strict=False):
        found[word.startswith("-") or before in _VALUED].append(word)
    return [*found[False], *found[True]]


def find_plugins() -> None:
    """Let Hydra find the application's plugins, in this process and in those that launchers start."""
    if _PLUGINS not in sys.path:
        sys.path.append(_PLUGINS)
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if _PLUGINS not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, known), _PLUGINS])


def _answer(words: Sequence[str]) -> None:
    """Print the version or the help if asked for, and exit; otherwise do nothing.

    Raises:
        InputError: help is asked for on a name that does not exist.
    """
    if "--version" in words:
        from importlib.metadata import version

        parts = [f"{name} {version(name)}" for name in ("torch", "monai", "hydra-core")]
        print(f"{app.NAME} {app.__version__} ({', '.join(parts)})")
        sys.exit(0)
    if "--help" in words or "-h" in words:
        named = words[0] in ("--help", "-h") and len(words) == 2
        print(fitted(group_help(CONF, words[1]) if named else general_help(CONF)))
        sys.exit(0)


def _refuse_dashes(words: Sequence[str]) -> None:
    """Raise an InputError for a setting that is written like a flag, such as `--mode predict`."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, _, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name.partition(".")[0] in setting_names(CONF):
            meant = f"{name}={value or following or '<value>'}"
            raise InputError(f"got {word!r}, wanted key=value without dashes{proposed([meant])}")


def _explained(error: CompactHydraException, words: Sequence[str]) -> str:
    overrides = [word for word in words if "=" in word and not word.startswith("-")]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return explain(error, overrides, GlobalHydra.instance().config_loader())
