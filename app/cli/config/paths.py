"""Paths with any characters on a command line, converted to words that Hydra can read.

Hydra's grammar needs quotes inside a word around spaces, brackets, commas, equals signs and letters outside
ASCII. Options that take a path need no quotes here: a value that names an existing file or folder is that
path, and so is a value that Hydra cannot read. Otherwise lists, sweeps and ${...} keep their meaning.
"""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

ONE = frozenset(
    (
        *(
            "paths.data",
            "paths.cache",
            "paths.scratch",
            "paths.run",
            "paths.sweep",
            "plan.file",
        ),
        *("train.resume", "train.init", "compress.model", "op.layout", "decoder_op.layout"),
        *("split.file", "check.repair", "check.add", "predict.output", "task.strata"),
        *("evaluate.predictions", "evaluate.labels", "evaluate.output", "evaluate.probabilities"),
        *("export.model", "export.output", "search.model", "task.dataset"),
        *(
            "report.runs",
            "report.output",
            "time.runs",
            "view.run",
            "view.scan",
            "search.latency_table",
            "track.folder",
        ),
    )
)
"""Options that take a path."""
SEVERAL = frozenset(
    (
        *("predict.model", "predict.input", "check.scans", "cleanup.runs", "split.test", "split.exclude"),
        *("view.labels", "task.folder"),
    )
)
"""Options that take a path or a list."""
_WORD = re.compile(r"([+]{0,2})([\w./@]+)=(.+)", re.DOTALL)
_OPENED = re.compile(r"[+]{0,2}[\w./@]+=[\[{]")


def readable(words: Sequence[str], *, several: bool = False) -> list[str]:
    """Return words that Hydra reads as the user means them.

    With `several`, commas may separate the values of a sweep. A list that the shell has split at its spaces,
    as in plan.patch=[16, 16, 16], is joined again.
    """
    return [readable_word(word, several=several) for word in _joined(words)]


def readable_word(word: str, *, several: bool = False) -> str:
    """Return a word that Hydra reads as the user means it."""
    found = _WORD.fullmatch(word)
    if found is None or found[2] not in ONE | SEVERAL:
        return word
    return f"{found[1]}{found[2]}={_value(found[3], listed=found[2] in SEVERAL, several=several)}"


def quoted(text: str) -> str:
    """Return text in Hydra's quotes, so that no character in it has a special meaning, ${...} included."""
    return _quoted(text.replace("${", r"\${"))


def shell_word(key: str, value: object) -> str:
    """Return an override to paste into a shell, in quotes if the shell needs them."""
    return shlex.quote(f"{key}={value}")


def _value(value: str, *, listed: bool, several: bool) -> str:
    override = _parsed(value)
    single = override is not None and not override.is_sweep_override()
    means: Any = override.value() if override is not None and single else None
    if _exists(value) or ("${" in value and _lies_there(value)):
        return value if means == value and "${" not in value else quoted(value)
    parts = _existing(value[1:-1]) if listed and value[0] + value[-1] == "[]" else None
    if parts is not None:
        return f"[{','.join(map(_quoted, parts))}]"
    if single:
        kept = means is None or isinstance(means, str) or (listed and _is_list(means))
        return value if kept else _quoted(value)
    inside = value[1:-1] if value[0] + value[-1] == "[]" and listed else value
    parts = [part.strip() for part in inside.split(",")]
    if inside != value:
        return f"[{','.join(_quoted(part) for part in parts)}]"
    parts = (_existing(value) or parts) if several else parts
    if several and len(parts) > 1 and (override is not None or all(map(_exists, parts))):
        return ",".join(part if _is_plain(part) else _quoted(part) for part in parts)
    return _quoted(value)


def _existing(text: str) -> list[str] | None:
    """Return the existing paths that text lists; commas separate them, and may also be in paths."""
    pieces = text.split(",")
    for count in range(1, len(pieces) + 1):
        first, rest = ",".join(pieces[:count]).strip(), pieces[count:]
        if first and _exists(first):
            others = _existing(",".join(rest)) if rest else []
            if others is not None:
                return [first, *others]
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_plain(text: str) -> bool:
    override = _parsed(text)
    return override is not None and not override.is_sweep_override()


def _parsed(value: str) -> Override | None:
    """Return the override that Hydra parses; None if it cannot parse the value."""
    try:
        return OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return None


def _exists(value: str) -> bool:
    try:
        return os.path.lexists(Path(value))
    except (OSError, ValueError):
        return False


def _lies_there(value: str) -> bool:
    """Return whether a folder with ${ in its name exists and contains the path."""
    return any("${" in str(parent) and _exists(str(parent)) for parent in Path(value).parents)


def _quoted(text: str) -> str:
    return str(QuotedString(text, Quote.single).with_quotes())


def _joined(words: Sequence[str]) -> list[str]:
    """Return words, with each list or mapping joined into one word."""
    found: list[str] = []
    left = list(words)
    while left:
        count = 1
        if _OPENED.match(left[0]) and not _exists(left[0].partition("=")[2]):
            ends = (n for n in range(1, len(left) + 1) if _closed(" ".join(left[:n])))
            count = next(ends, 1)
        found.append(" ".join(left[:count]))
        left = left[count:]
    return found


def _closed(text: str) -> bool:
    return all(text.count(first) <= text.count(last) for first, last in ("[]", "{}"))
