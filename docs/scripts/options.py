"""Write docs/options.md from the files of conf/: python docs/scripts/options.py"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
PAGE = ROOT / "docs" / "options.md"
LINE = re.compile(r"^( *)([\w@]+):(?: +([^#\s].*?))?(?: +# (.*))?$")
HIDDEN = ("_target_", "_partial_", "defaults", "choices")
OTHERS_HIDDEN = ("mode", "experiment", "log", "sweep", "hydra/launcher")
"""Groups whose options set keys of other groups."""

INTRODUCTION = """\
# All options

<!-- Generated from conf/ by `python docs/scripts/options.py`. Change the comments in conf/, then run it. -->

A **group** is a choice between files, written `group=option`; for example `op=conv3d` or `train=smoke`.
A **key** is one value, written `section.key=value`; for example `train.max_minutes=15`. A key on
the command line overrides every file, in any order of the words; values in a file of `experiment` or `sweep`
override options of other groups. If two words set the same key, the later one counts. A value of `null` means
that the program decides.

`python run.py --help <name>` prints the same text for one group or section. `python run.py --cfg job <words>`
prints the value of every key for a command, without running it.
"""

CHAPTERS = {
    "What to do": {
        "mode": "The command to run.",
        "experiment": "A preset: a task with settings for it. A mean Dice in its description was measured.",
        "log": "How much a command prints.",
        "paths": "Where data, prepared cases and results lie.",
    },
    "Data": {
        "task": "The data set and what is known about it.",
        "split": "Which cases train, which are held out, and which are a test set.",
        "check": "Settings of `mode=check`, which examines and repairs a data set.",
        "cache": "Settings of `mode=cache`, which lists and deletes prepared cases.",
    },
    "Network and training": {
        "plan": "The size of network, patch and grid. What is `null` follows from the data and the time.",
        "model": "The topology of the network.",
        "op": "The operator that replaces the convolutions of the network.",
        "loss": "The loss of tasks with labels.",
        "region_loss": "The loss of tasks with overlapping regions (`task.regions`).",
        "optimizer": "How weights are updated.",
        "schedule": "How the learning rate changes during a training.",
        "augment": "Random changes of training patches.",
        "train": "Length, precision, checkpoints and starting weights of a training.",
        "track": "A program that shows many runs beside each other.",
    },
    "Prediction and evaluation": {
        "predict": "Settings of `mode=predict`, which segments scans.",
        "sliding": "How windows are laid over a scan and averaged.",
        "view": "Settings of `mode=view`, which shows a case in the browser.",
        "cleanup": "Settings of `mode=cleanup`, which tries corrections of label maps on held-out cases.",
        "evaluate": "Settings of `mode=evaluate`, which compares label maps with references.",
        "export": "Settings of `mode=export`, which writes a network for other programs.",
        "report": "Settings of `mode=report`, which writes one page about any number of runs.",
    },
    "Search, compression and sweeps": {
        "search": "Settings of `mode=search`, which chooses a kernel for each channel.",
        "compress": "Settings of `mode=compress`, which makes a trained network cheaper.",
        "analyze": "Settings of `mode=analyze`, which computes cost and receptive field without training.",
        "time": "Settings of `mode=time`, which measures the networks of several runs together.",
        "sweep": "Several jobs in one command.",
        "tune": "Settings of `mode=tune`, which searches the best configuration with Optuna.",
        "hydra/launcher": "How the jobs of a sweep are started.",
    },
}


@dataclass
class Row:
    """A key of a file, its default and its comment."""

    key: str
    value: str
    meaning: list[str] = field(default_factory=list)


def page() -> str:
    """Return the text of docs/options.md."""
    outside = _rows(CONF / "config.yaml", "", plain=True)
    parts = [INTRODUCTION, "## Keys without a section\n", *_table(None, outside)]
    for chapter, names in CHAPTERS.items():
        parts.append(f"## {chapter}\n")
        for name, purpose in names.items():
            parts += [f"### `{name}`\n", f"{purpose}\n", *_group(name)]
    return "\n".join(parts).rstrip() + "\n"


def _group(name: str) -> list[str]:
    """Return the options of a group, keys of its default and of its section, and keys of other options."""
    files = sorted((CONF / name).glob("*.yaml"))
    section = CONF / "settings" / f"{name}.yaml"
    lines = []
    if len(files) > 1 or name == "experiment":
        lines += ["| option | what it is |", "|---|---|"]
        lines += [
            f"| `{name}={path.stem}` | {_escaped(_opening(path))}{_mark(name, path)} |" for path in files
        ]
        lines.append("")
    shown = [path for path in (_default(name), section) if path is not None and path.is_file()]
    for path in shown:
        whole = len(files) > 1 and path != section
        label = f"Keys of `{name}`" + (f", with the values of `{name}={path.stem}`" if whole else "")
        lines += _table(label, _rows(path, f"{name}."))
    if name == "op":
        lines += _table("Keys of every operator", _rows(CONF / "config.yaml", "", only="op"))
    known = {row.key for path in shown for row in _rows(path, f"{name}.")}
    for path in [] if name in OTHERS_HIDDEN else files:
        more = [row for row in _rows(path, f"{name}.") if row.meaning and row.key not in known]
        lines += _table(f"Further keys with `{name}={path.stem}`", more)
    return lines


def _chosen(name: str) -> str | None:
    """Return the option that config.yaml chooses for a group."""
    text = (CONF / "config.yaml").read_text(encoding="utf-8")
    found = re.search(rf"^  - {re.escape(name)}: (\w+)", text, re.MULTILINE)
    return found[1] if found and found[1] != "null" else None


def _mark(name: str, path: Path) -> str:
    if path.stem != _chosen(name):
        return ""
    return " (the default)" if _opening(path) else "the default"


def _default(name: str) -> Path | None:
    """Return the file whose keys are shown: the default, or for tasks the one that all extend."""
    chosen = "decathlon" if name == "task" else _chosen(name)
    return CONF / name / f"{chosen}.yaml" if chosen and name not in ("mode", "log", "track") else None


def _opening(path: Path) -> str:
    """Return the first comment of a file that describes it: no package line, and no command alone."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.lstrip("# ")
        if text.startswith("python run.py"):
            text = text.partition("  ")[2].strip()
        if line.startswith("#") and text and not text.startswith("@package"):
            return text
    return ""


def _rows(path: Path, prefix: str, *, plain: bool = False, only: str | None = None) -> list[Row]:
    """Return the keys of a file with their comments.

    With `plain` these are the keys outside of sections, with `only` those of one section.
    """
    rows: list[Row] = []
    sections: list[tuple[int, str]] = []
    hidden: int | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        found = LINE.match(line)
        if found is None:
            more = re.match(r"^ +# ?(.*)$", line)
            if more and rows and hidden is None:
                rows[-1].meaning.append(more[1].strip())
            continue
        indent, key, value, comment = len(found[1]), found[2], found[3] or "", found[4]
        if hidden is not None and indent > hidden:
            continue
        outside = indent == 0 and ((plain and not value) or (only is not None and key != only))
        hidden = indent if key in HIDDEN or outside else None
        if hidden is not None:
            continue
        sections = [(depth, name) for depth, name in sections if depth < indent]
        name = prefix + ".".join([*(name for _, name in sections), key])
        sections.append((indent, key))
        if value or comment:
            rows.append(Row(name, value, [comment] if comment else []))
    return rows


def _table(title: str | None, rows: list[Row]) -> list[str]:
    if not rows:
        return []
    lines = [f"{title}:\n"] if title else []
    lines += ["| key | default | meaning |", "|---|---|---|"]
    for row in rows:
        value = f"`{row.value}`" if row.value else ""
        lines.append(f"| `{row.key}` | {value} | {_escaped(' '.join(row.meaning))} |")
    return [*lines, ""]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def main() -> None:
    """Write the page; with --check only say whether it is up to date, by the exit code."""
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else "docs/options.md is out of date")
    PAGE.write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
