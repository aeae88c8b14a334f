"""The last lines of a training: what a user can do with its folder."""

import os
import shlex
from pathlib import Path

_WIDTH = 100
_OUTPUT = "predictions"
_OWN_DATA = ("python", "run.py", "task=decathlon", "task.folder=<folder with a dataset.json>")


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


def _wrapped(words: tuple[str, ...]) -> str:
    """Return a command on as many lines as its width needs, continued so that a shell accepts all of them."""
    mark = " ^" if os.name == "nt" else " \\"
    lines = [""]
    for word in words:
        shown = word if "<" in word else shlex.quote(word)
        longer = f"{lines[-1]} {shown}".strip()
        if lines[-1] and len(longer) > _WIDTH - 8:
            lines.append(shown)
        else:
            lines[-1] = longer
    return f"{mark}\n".join([f"    {lines[0]}", *(f"      {line}" for line in lines[1:])])
