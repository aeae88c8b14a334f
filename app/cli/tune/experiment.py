"""A trial written as a file of the group `experiment`, so that it can be run again."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override

from app.cli.sweep.jobs import parse
from app.core.files import remove, write_text

_GROUP = "experiment"


def write_experiment(folder: Path, name: str, overrides: Sequence[str], remark: str) -> Path:
    """Write the overrides of a trial; `remark` describes its result."""
    path = folder / _GROUP / f"{name}.yaml"
    defaults: list[str | dict[str, str | None]] = []
    values: dict[str, Any] = {}
    removed: list[str] = []
    for key, override in parse(overrides, name).items():
        plain = key.lstrip("+")
        if override.is_delete():  # a file cannot remove keys, so the command that runs it does
            removed.append(shlex.quote(key))
        elif plain == _GROUP:  # included, because the command that runs this file chooses another one
            defaults.insert(0, str(override.value()))
        elif _is_group(plain):
            option = override.value()
            defaults.append({f"override /{plain}": None if option is None else str(option)})
        else:
            _put(values, plain, override)
    body = ({"defaults": defaults} if defaults else {}) | values
    command = " ".join(
        ["python run.py --config-dir", shlex.quote(str(folder)), f"experiment={name}", *removed]
    )
    header = f"# @package _global_\n# {command}\n# {remark}\n"
    write_text(path, header + yaml.safe_dump(body, sort_keys=False, default_flow_style=None))
    return path


def remove_experiments(folder: Path) -> None:
    """Remove files of earlier calls, because a later trial may be better."""
    for path in (folder / _GROUP).glob("*.yaml"):
        remove(path)


def _is_group(key: str) -> bool:
    """Return whether a key is a group such as `op`, or one for another section such as `op@decoder_op`."""
    return bool(GlobalHydra.instance().config_loader().get_group_options(key.partition("@")[0]))


def _put(values: dict[str, Any], key: str, override: Override) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = override.value()
