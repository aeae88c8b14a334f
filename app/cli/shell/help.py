"""The help of `--help <name>`: a group's options with their descriptions, or the file of a mode's section."""

import re
from pathlib import Path

from app.core.errors import InputError

_SECTIONS = "settings"


def group_help(conf: Path, name: str) -> str:
    """Return the options of a group, one per line, then the default's file; or the section of that name.

    Raises:
        InputError: there is neither.
    """
    root = (conf / "config.yaml").read_text(encoding="utf-8")
    files = sorted((conf / name).glob("*.yaml"))
    section = conf / _SECTIONS / f"{name}.yaml"
    found = [section.read_text(encoding="utf-8")] if section.is_file() and name != "hydra" else []
    if not files and not found:
        groups = {folder.name for folder in conf.iterdir() if folder.is_dir()}
        sections = {path.stem for path in (conf / _SECTIONS).glob("*.yaml")}
        raise InputError(f"--help: got {name!r}, wanted one of {', '.join(sorted(groups | sections))}")
    default = re.search(rf"^  - {re.escape(name)}: (\w+)", root, re.MULTILINE)
    return "\n".join([*_options(name, files), *_default(conf / name, default), *found])


def _options(name: str, files: list[Path]) -> list[str]:
    width = max((len(path.stem) for path in files), default=0)
    return [f"{name}={path.stem:{width}}  {_opening(path)}".rstrip() for path in files]


def _opening(path: Path) -> str:
    """Return the first comment line of a file, ignoring the line that names its package."""
    lines = path.read_text(encoding="utf-8").splitlines()
    said = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
    return said[0] if said else ""


def _default(folder: Path, default: re.Match[str] | None) -> list[str]:
    """Return the default's file with its comments; nothing if there is none."""
    path = folder / f"{default[1]}.yaml" if default else None
    if path is None or not path.is_file():
        return []
    return ["", f"default: {path.stem}", "", path.read_text(encoding="utf-8")]
