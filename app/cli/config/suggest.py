"""Suggestions for names on a command line that do not exist: the most similar names that do."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import Container, DictConfig, OmegaConf

from app.core.errors import InputError
from app.core.nested import dotted
from app.core.optional import LAUNCHERS, not_installed

SECTIONS = "settings"
"""Folder of conf whose files are sections of modes; none of them can be chosen."""
_ROOT = "config"
_LAUNCHER = "hydra/launcher"
_ALIKE = 0.72  # smallest ratio of SequenceMatcher: trian and train have 0.8, rate and train 0.67
_MOST = 3  # names suggested
_OPTIONS = re.compile(r"got '([^']+)', wanted (?:one of )?([\w.]+(?:(?:, | or )[\w.]+)+)")


def explain(error: HydraException, words: Sequence[str], loader: ConfigLoader) -> str:
    """Return one line about why overrides do not compose: the first wrong name, else Hydra's message."""
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, loader)
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(words))
    if isinstance(error, MissingConfigException) and (package := _launcher_of(error)):
        chosen_launcher = next(str(each.value()) for each in overrides if each.key_or_group == _LAUNCHER)
        return not_installed(f"{_LAUNCHER}={chosen_launcher}", package)
    chosen = [each for each in overrides if loader.get_group_options(each.key_or_group)]
    wrong = [_wrong_option(each, loader.get_group_options(each.key_or_group)) for each in chosen]
    if not any(wrong):
        lines = [each.input_line for each in chosen if each.input_line and not each.is_sweep_override()]
        config = loader.load_configuration(_ROOT, lines, RunMode.RUN)
        wrong = [_wrong_key(each, config, loader) for each in overrides if each not in chosen]
    return next(filter(None, wrong), " ".join(str(error).split()))


def check_choices(words: Sequence[str], conf: Path) -> None:
    """Validate that groups of `conf` are set to names; words that cannot be read are left to `explain`.

    Hydra would merge a list of options into one; only presets (experiments) are made for that.

    Raises:
        InputError: a group is set to null, to a number, to values by name or to several options.
    """
    try:
        choices = [word for word in words if "=" in word and not word.startswith("-")]
        overrides = OverridesParser.create().parse_overrides(choices)
    except HydraException:
        return
    for each in overrides:
        options = sorted(path.stem for path in (conf / each.key_or_group).glob("*.yaml"))
        for option in _choices(each) if options else ():
            several = isinstance(option, list) and each.key_or_group == "experiment"
            if not isinstance(option, str) and not several:
                got = "null" if option is None else str(option).replace("'", "")
                raise InputError(f"{each.get_key_element()}: got {got}, wanted one of {', '.join(options)}")


def _launcher_of(error: MissingConfigException) -> str | None:
    """Return the package of the launcher that could not be loaded; None if it was another file."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    return LAUNCHERS.get(name) if group == _LAUNCHER else None


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the most similar names, best first; for a dotted name its last part alone may be similar."""

    def likeness(key: str) -> tuple[float, float]:
        whole = _ratio(name, key)
        return max(whole, 0.95 * _ratio(name.rpartition(".")[2], key.rpartition(".")[2])), whole

    scored = sorted(((likeness(key), key) for key in known), reverse=True)
    return [key for (score, _), key in scored if score >= _ALIKE][:_MOST]


def nearest_option(message: str) -> str:
    """Return `; did you mean ...?` for an error such as `got 'grup', wanted group or batch`; else nothing."""
    found = _OPTIONS.search(message)
    return proposed(nearest(found[1], re.split(", | or ", found[2]))[:1]) if found else ""


def _unreadable(word: str, loader: ConfigLoader) -> str:
    groups = [group for group in loader.list_groups("") if group != SECTIONS]
    meant = [group for group in groups if word in loader.get_group_options(group)]
    return f"got {word!r}, wanted key=value{proposed([f'{group}={word}' for group in meant])}"


def _wrong_option(override: Override, options: Sequence[str]) -> str | None:
    """Return a message about the first choice that does not exist; lists are left to Hydra."""
    for option in _choices(override):
        if isinstance(option, str) and option not in options:
            group = override.key_or_group
            wanted = ", ".join(options)
            return f"{group}: got {option!r}, wanted one of {wanted}{proposed(nearest(option, options))}"
    return None


def _wrong_key(override: Override, config: DictConfig, loader: ConfigLoader) -> str | None:
    name = override.key_or_group
    keys = _keys(config)
    if override.is_add() or name in keys:
        return None
    section, _, key = name.partition(".")
    group, chosen = _group_of(section, config)
    if having := [f"{group}={option}" for option in _options_with(key, group, loader)]:
        beside = [known for known in keys if known.rpartition(".")[0] == section]
        verb = "have" if len(having) > 1 else "has"
        found = f"{' and '.join(having)} {verb} it{proposed(nearest(name, beside))}"
        return f"{name}: {group}={chosen or 'null'} has no such option, {found}"
    wanted = [key for key in keys if name.startswith("hydra") or not key.startswith("hydra")]
    found = proposed(nearest(name, wanted)) or "; python run.py --help lists all options"
    return f"{name}: no such option{found}"


def _group_of(section: str, config: DictConfig) -> tuple[str, str | None]:
    """Return the group that fills a section, such as `op@decoder_op`, and its chosen option."""
    choices: dict[str, str | None] = OmegaConf.to_container(config.hydra.runtime.choices)  # type: ignore[assignment]
    for group, chosen in choices.items():
        if group.rpartition("@")[2] == section:
            return group, chosen
    return section, None


def _options_with(key: str, group: str, loader: ConfigLoader) -> list[str]:
    """Return the options of a group whose own file has a key; files of several sections are left out."""
    folder = group.partition("@")[0]
    found = []
    for option in loader.get_group_options(folder) if key else []:
        path = f"{folder}/{option}"
        source = next(each for each in loader.get_sources() if each.is_config(path))
        file = source.load_config(path)
        if file.header["package"] is None and key in _keys(file.config):
            found.append(option)
    return found


def _keys(config: Container) -> set[str]:
    return {name for name, _ in dotted(OmegaConf.to_container(config, resolve=False))}  # type: ignore[arg-type]


def _choices(override: Override) -> Iterator[object]:
    if override.is_discrete_sweep():
        yield from override.sweep_iterator()
    elif not override.is_delete():
        yield override.value()


def proposed(names: Sequence[str]) -> str:
    """Return `; did you mean ...?` for the names of `nearest`, or an empty string if there are none."""
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()
