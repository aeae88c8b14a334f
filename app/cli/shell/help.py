"""The help: of the whole command, or of `--help <name>`: a group of options, a section, or a single key."""

import re
from collections.abc import Iterable
from pathlib import Path
from string import Template
from textwrap import dedent, wrap

import yaml

from app.cli.config.suggest import SECTIONS, nearest, proposed
from app.core.errors import InputError

_ROOT = "config.yaml"
_WIDTH = 100


def general_help(conf: Path) -> str:
    """Return the help of the whole command: what it can do, and the groups with more than one option."""
    template = yaml.safe_load(_text(conf / "hydra" / "help" / "app.yaml"))["template"]
    names = sorted(folder.name for folder in conf.iterdir() if folder.is_dir())
    groups = {name: sorted(path.stem for path in (conf / name).glob("*.yaml")) for name in names}
    listed = [
        f"{name}: {', '.join(options)}"
        for name, options in groups.items()
        if len(options) > 1 and name not in (SECTIONS, "hydra")
    ]
    return Template(template).substitute(APP_CONFIG_GROUPS="\n".join(listed) + "\n")


def fitted(text: str) -> str:
    """Return the text with lines of at most 100 columns; comments and descriptions keep their column."""
    return "\n".join(part for line in text.splitlines() for part in _parts(line))


def group_help(conf: Path, name: str) -> str:
    """Return help on a group of options, a mode's section, or a key such as `seed` or `train.steps`.

    A group gives its options, one per line, then the default's file and the keys that every option has;
    `group=option` gives the option's file. A key gives its lines with their comments.

    Raises:
        InputError: there is no group, section, key or option of that name.
    """
    group, chosen, option = name.partition("=")
    if chosen and (path := conf / group / f"{option}.yaml").is_file():
        return _text(path)
    files = sorted((conf / name).glob("*.yaml"))
    section = conf / SECTIONS / f"{name}.yaml"
    found = [_text(section)] if section.is_file() and name != "hydra" else []
    if files or found:
        return "\n".join(
            [*_options(name, files), *_default(conf, name), *found, *_of_every_option(conf, name)]
        )
    if key := _key(conf, name):
        return key
    wanted = ", ".join(setting_names(conf))
    raise InputError(f"--help: got {name!r}, wanted one of {wanted}{proposed(_similar(conf, name))}")


def _parts(line: str) -> list[str]:
    if len(line) <= _WIDTH:
        return [line]
    before, mark, rest = line.partition("# ")
    if not mark:
        before, rest = re.match(r"(\S+ +)(.*)", line).groups()  # type: ignore[union-attr]
    below = " " * len(before) + mark
    return wrap(
        rest,
        _WIDTH,
        initial_indent=before + mark,
        subsequent_indent=below,
        break_long_words=False,
        break_on_hyphens=False,
    )


def setting_names(conf: Path) -> list[str]:
    """Return the groups, the sections and the keys of the root file, for which there is help."""
    groups = {folder.name for folder in conf.iterdir() if folder.is_dir()} - {SECTIONS, "hydra"}
    sections = {path.stem for path in (conf / SECTIONS).glob("*.yaml")} - {"hydra"}
    return sorted(groups | sections | {*_keys(_text(conf / _ROOT))} - {"defaults"})


def _similar(conf: Path, name: str) -> list[str]:
    """Return the most similar names: for a dotted name in its section, else keys of that name."""
    section, _, key = name.rpartition(".")
    sections = [section] if section else setting_names(conf)
    keys = _dotted(conf, sections)
    if not section and (same := [dotted for dotted, found in keys.items() if found == key]):
        return same
    if section:
        return nearest(name, [*setting_names(conf), *(keys or _dotted(conf, setting_names(conf)))])
    return nearest(name, setting_names(conf))


def _dotted(conf: Path, sections: Iterable[str]) -> dict[str, str]:
    """Return the keys of sections by their dotted names."""
    return {
        f"{one}.{found}": found for one in sections for text in _texts(conf, one) for found in _keys(text)
    }


def _key(conf: Path, name: str) -> str | None:
    """Return the lines of a key such as `seed` or `train.steps`; None if no file has it."""
    section, _, rest = name.partition(".")
    places = [(text, rest) for text in _texts(conf, section) if rest]
    for text, key in [(_text(conf / _ROOT), name), *places]:
        if found := _lines(text, key.split(".")):
            return name.rpartition(".")[0] + "." * ("." in name) + found
    return None


def _texts(conf: Path, section: str) -> list[str]:
    """Return the files that set the keys of a section: a mode's section and a group's default."""
    files = [conf / SECTIONS / f"{section}.yaml", _default_file(conf, section)]
    return [_text(path) for path in files if path and path.is_file()]


def _lines(text: str, keys: list[str]) -> str | None:
    """Return the lines of a key inside other keys, without the indentation; None if it is not there."""
    found = re.search(rf"^{re.escape(keys[0])}:.*\n?(?:[ ]+\S.*\n?)*", text, re.MULTILINE)
    if found is None or keys[0] == "defaults":
        return None
    return _lines(dedent(found[0].partition("\n")[2]), keys[1:]) if keys[1:] else found[0].rstrip()


def _keys(text: str) -> list[str]:
    return re.findall(r"^([a-z]\w*):", text, re.MULTILINE)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _options(name: str, files: list[Path]) -> list[str]:
    width = max((len(path.stem) for path in files), default=0)
    return [f"{name}={path.stem:{width}}  {_opening(path)}".rstrip() for path in files]


def _opening(path: Path) -> str:
    """Return the first comment line of a file, ignoring the line that names its package."""
    lines = _text(path).splitlines()
    comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
    return comments[0] if comments else ""


def _default_file(conf: Path, group: str) -> Path | None:
    """Return the file of a group's default option; None if it has no default."""
    default = re.search(rf"^  - {re.escape(group)}: (\w+)", _text(conf / _ROOT), re.MULTILINE)
    path = conf / group / f"{default[1]}.yaml" if default else None
    return path if path and path.is_file() else None


def _default(conf: Path, name: str) -> list[str]:
    """Return the default's file with its comments; nothing if there is none."""
    path = _default_file(conf, name)
    return ["", f"default: {path.stem}", "", _text(path)] if path else []


def _of_every_option(conf: Path, name: str) -> list[str]:
    """Return the root file's keys in the section of a group; nothing if there are none."""
    found = _lines(_text(conf / _ROOT), [name])
    return [f"{name} with any option:", "", found.partition("\n")[2]] if found else []
