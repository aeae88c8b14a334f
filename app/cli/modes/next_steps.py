"""The last lines of a training: what a user can do with its folder."""

import os
import shlex
from pathlib import Path

from app.core.task import Task

_WIDTH = 100
_OUTPUT = "predictions"
_ANY_FOLDER = "decathlon"
"""The option of task= that does not say which folder."""
_OWN_DATA = ("python", "run.py", f"task={_ANY_FOLDER}", "task.folder=<folder with a dataset.json>")


def next_steps(run: Path, report: Path, scan: Path | None) -> str:
    """Return what to do next, one step per paragraph and at most 100 columns wide unless a path is longer.

    `scan` is a scan to try the network on; None for a user who trained on data of their own.
    """
    source = f"predict.input={scan or '<scan or folder>'}"
    predict = (
        "python",
        "run.py",
        "mode=predict",
        f"predict.model={run}",
        source,
        f"predict.output={_OUTPUT}",
    )
    steps = [("open the report", (str(report),)), ("predict on a scan", predict)]
    if scan is not None:
        steps.append(("train on your data, after mode=check with the same words", _OWN_DATA))
    return "\n".join(["next:", *(f"  {title}:\n{_wrapped(words)}" for title, words in steps)])


def command(*words: str) -> str:
    """Return a command in one line that a shell accepts; <...> is left for the user to fill in."""
    return " ".join(("python", "run.py", *map(_quoted, words)))


def on_task(choice: str, task: Task) -> tuple[str, ...]:
    """Return the words that choose a task, with its folders if its name does not imply them."""
    if choice != _ANY_FOLDER:
        return (f"task={choice}",)
    folders = ",".join(map(str, task.folders))
    return (f"task={choice}", f"task.folder={folders if len(task.folders) == 1 else f'[{folders}]'}")


def _quoted(word: str) -> str:
    return word if "<" in word else shlex.quote(word)


def _wrapped(words: tuple[str, ...]) -> str:
    """Return a command on as many lines as its width needs, continued so that a shell accepts all of them."""
    mark = " ^" if os.name == "nt" else " \\"
    lines = [""]
    for word in words:
        shown = _quoted(word)
        longer = f"{lines[-1]} {shown}".strip()
        if lines[-1] and len(longer) > _WIDTH - 8:
            lines.append(shown)
        else:
            lines[-1] = longer
    return f"{mark}\n".join([f"    {lines[0]}", *(f"      {line}" for line in lines[1:])])
