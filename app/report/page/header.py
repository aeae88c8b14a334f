"""The head of the page: what was run, when, on which machine, and the most important figures."""

from collections.abc import Iterable, Sequence

from app.report.page.scores import mean_text
from app.report.page.tables import missed
from app.report.read.runs import Run
from app.report.wording import DASH, decimals, mean, scaled

Fact = tuple[str, str]
_WORDS = (("Task", "task"), ("Fold", "fold"), ("Seed", "seed"), ("Model", "model"), ("Operator", "op"))
_MACHINE = ("python", "torch", "monai", "processor", "threads", "git", "data_hash")
_ANY_FOLDER = "decathlon"
_HASHES = ("git", "data_hash")


def title(runs: Sequence[Run]) -> str:
    """Return the task or tasks of the runs; if a task stands for any folder, the folder of its data set."""
    tasks = _distinct(run.data_set if run.summary.task == _ANY_FOLDER else run.summary.task for run in runs)
    return "Training report" if tasks == DASH else tasks


def subtitle(runs: Sequence[Run]) -> str:
    """Return the name of a single run, or the number of runs."""
    return runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared"


def facts(runs: Sequence[Run]) -> list[Fact]:
    """Return task, fold, seed, model, operator and date; distinct values are listed together."""
    words = [(name, _distinct(getattr(run.summary, field) for run in runs)) for name, field in _WORDS]
    return [*words, ("Date", _distinct(_started(run) for run in runs))]


def machines(runs: Sequence[Run]) -> list[str]:
    """Return one line for each distinct environment."""
    lines = [_machine(run) for run in runs if run.environment]
    lines += [f"times measured on {run.timing.machine}" for run in runs if run.timing.machine]
    return list(dict.fromkeys(lines))


def headline(run: Run) -> list[tuple[str, str, str]]:
    """Return the six main figures of a single run, each with a note; nothing if none is known."""
    of = run.summary
    cases = {score.case for score in run.scores or ()}
    figures = [
        ("Mean Dice", decimals(of.mean_dice, 3), mean_text(run)),
        ("Missed labels", missed(run), f"in {len(cases)} cases" if cases else ""),
        ("HD95 (mm)", decimals(mean(of.hd95_mm.values()), 2), "mean over labels"),
        ("NSD", decimals(mean(of.nsd.values()), 3), "mean over labels"),
        ("Parameters", scaled(of.params), ""),
        ("MACs per patch", scaled(of.macs_per_patch), ""),
    ]
    return figures if any(text != DASH for _, text, _ in figures) else []


def _distinct(words: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word)) or DASH


def _started(run: Run) -> str | None:
    """Return the day of the run's start, from an ISO date and time."""
    started = (run.environment or {}).get("started")
    return None if started is None else str(started)[:10]


def _machine(run: Run) -> str:
    known = ((name, (run.environment or {}).get(name)) for name in _MACHINE)
    return " · ".join(
        f"{name.replace('_', ' ')} {_short(str(value)) if name in _HASHES else value}"
        for name, value in known
        if value is not None
    )


def _short(value: str) -> str:
    """Return the first twelve characters of a hash, and a suffix such as -dirty."""
    digits, dash, mark = value.partition("-")
    return digits[:12] + dash + mark
