"""Cases named by the user: ids of cases or groups, in a list or a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from app.core.csv_file import read_csv
from app.core.errors import InputError
from app.core.files import read_json, read_text
from app.core.task import Case, GroupRule

SIDES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "held_out"), "validation"),
    "test": "test",
}
"""Names that a file may give to the sides of a split."""


@dataclass(frozen=True)
class Names:
    """The training cases, held-out cases and test cases, by ids of cases or groups."""

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


def names_in(value: Any, setting: str) -> tuple[str, ...]:
    """Return the names in a list, or in a text file with one name per line; none for None.

    `setting` is the key named in error messages.

    Raises:
        InputError: `value` is neither a list nor an existing file.
    """
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(str(name) for name in value)
    path = Path(str(value))
    if not path.is_file():
        raise InputError(f"{setting}: {path}: no such file; wanted a text file or a list of cases, [a,b]")
    lines = read_text(path).splitlines()
    return tuple(name for line in lines if (name := line.strip()) and not name.startswith("#"))


def named(names: Sequence[str], cases: Sequence[Case], group: GroupRule | None, setting: str) -> set[str]:
    """Return the ids of the cases that these names of cases or groups stand for.

    Raises:
        InputError: a name is neither a case nor a group; the message begins with `setting`.
    """
    known: dict[str, set[str]] = {name: {case.id} for case in cases for name in (case.id, case.own_id)}
    for case in cases if group is not None else ():
        known.setdefault(group.captured(case.grouped_as), set()).add(case.id)  # type: ignore[union-attr]
    unknown = [name for name in names if name not in known]
    if unknown:
        close = get_close_matches(unknown[0], list(known), 1)
        hint = f"; did you mean {close[0]}?" if close else f", such as {cases[0].id}" if cases else ""
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise InputError(f"{setting}: got {unknown[0]!r}{more}, wanted names of cases or groups{hint}")
    return {case for name in names for case in known[name]}


def read_split_file(path: Path, fold: int) -> Names:
    """Read a split from a file; `fold` chooses one if the file has several.

    A JSON file has the keys train, validation (or val) and test, or a list of such objects, as nnU-Net's
    splits_final.json. A CSV file has a column case (or group), and either a column split with these words or
    a column fold with numbers and possibly the word test.

    Raises:
        InputError: the file is missing or malformed, or does not have the fold.
    """
    content = _content(path)
    if path.suffix.lower() == ".json":
        return _from_json(content, path, fold)
    return _from_rows(content, path, fold)


def folds_in(path: Path) -> list[int]:
    """Return the numbers of the folds in a file of `read_split_file`.

    Raises:
        InputError: the file is missing, or has no folds but one split.
    """
    content = _content(path)
    if path.suffix.lower() == ".json":
        folds = list(range(len(content))) if isinstance(content, list) else []
    else:
        words = {row.get("fold", "").strip() for row in content if "split" not in row}
        folds = sorted(int(word) for word in words if word.isdecimal())
    if not folds:
        raise InputError(f"fold: got all, but {path} has one split and no folds; leave out fold=all")
    return folds


def _content(path: Path) -> Any:
    """Return the value of a JSON file, or the rows of a CSV file."""
    if path.suffix.lower() == ".json":
        return read_json(path)
    if path.suffix.lower() == ".csv":
        return read_csv(path)
    raise InputError(f"split.file: {path}: wanted a .json or .csv file")


def _refuse_fold(fold: int, path: Path) -> None:
    if fold != 0:
        raise InputError(f"fold: got {fold}, but {path} has one split and no folds; leave out fold={fold}")


def _from_json(found: Any, path: Path, fold: int) -> Names:
    if not isinstance(found, list):
        _refuse_fold(fold, path)
    else:
        if not 0 <= fold < len(found):
            raise InputError(f"fold: got {fold}, {path} has the folds 0 to {len(found) - 1}")
        found = found[fold]
    if not isinstance(found, Mapping) or not any(SIDES.get(key) == "train" for key in found):
        raise InputError(f"split.file: {path}: wanted train, validation and test, or a list of such")
    sides: dict[str, tuple[str, ...]] = {}
    for key, names in found.items():
        if key in SIDES:
            if not isinstance(names, list):
                raise InputError(f"split.file: {path}: {key}: got {names!r:.60}, wanted a list of names")
            sides[SIDES[key]] = tuple(str(name) for name in names)
    return Names(**sides)


def _from_rows(rows: Sequence[Mapping[str, str]], path: Path, fold: int) -> Names:
    columns = set(rows[0]) if rows else set()
    who = next((name for name in ("case", "group") if name in columns), None)
    how = next((name for name in ("split", "fold") if name in columns), None)
    if who is None or how is None:
        raise InputError(f"split.file: {path}: wanted the columns case (or group) and split (or fold)")
    if how == "split":
        _refuse_fold(fold, path)
    sides: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for number, row in enumerate(rows, start=2):
        word = row[how].strip()
        side = SIDES.get(word.lower())
        if how == "fold" and word.isdecimal():
            side = "validation" if int(word) == fold else "train"
        if side is None:
            raise InputError(f"split.file: {path}: line {number}: got {word!r}, wanted {', '.join(SIDES)}")
        sides[side].append(row[who].strip())
    if how == "fold" and not sides["validation"]:
        raise InputError(f"fold: got {fold}, {path} has no such fold")
    return Names(**{side: tuple(names) for side, names in sides.items()})
