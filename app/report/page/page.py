"""The page about one or several runs, in the order in which readers ask."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.core import run_folder
from app.core.files import write_text
from app.core.moved import UNMOVED, Moved
from app.core.sweep import Sweep
from app.report.compare.folds import pool_folds
from app.report.compare.groups import Comparison, compare
from app.report.draw import curves, kernels, pictures, reliability, strips, tradeoff
from app.report.draw.cases import case_views
from app.report.page import scores, tables
from app.report.page.answer import score_sentences, winner
from app.report.page.card import as_markdown, model_card
from app.report.page.header import facts, headline, machines, subtitle, title
from app.report.page.missing import (
    baseline_absent,
    kernels_absent,
    left_out,
    one_machine,
    without_file,
    without_scores,
)
from app.report.page.race import race
from app.report.read.ranking import best_run
from app.report.read.runs import Run, read_runs, with_results
from app.report.wording import DASH

Words = Mapping[str, str | None]

_HERE = Path(__file__).parent


def write_report(
    runs: Sequence[Path],
    output: Path,
    *,
    sweep: Sweep | None = None,
    words: Words | None = None,
    moved: Moved = UNMOVED,
) -> None:
    """Write one self-contained HTML page about run folders, or about all runs below a parent folder.

    `sweep` defines which runs repeat each other and which group is the baseline. `words` are the parts of a
    model card that only its author knows. `moved` maps data sets to their current paths. The card of a single
    run is also written to a file next to the page.

    Raises:
        InputError: a folder holds no results, or one of its files is broken.
    """
    full, empty = with_results(runs)
    found = _in_order(read_runs(full, moved), sweep)
    write_text(output, render(found, left_out(empty), sweep, words))
    if len(found) == 1 and _has_card(found[0]):
        write_text(output.with_name(run_folder.CARD), as_markdown(title(found), model_card(found[0], words)))


def _in_order(runs: list[Run], sweep: Sweep | None) -> list[Run]:
    """Return runs in the order of the sweep, if there is one."""
    place = {entry.name: index for index, entry in enumerate(sweep.entries if sweep else ())}
    return sorted(runs, key=lambda run: place.get(run.folder.name, len(place)))


def render(
    runs: Sequence[Run],
    notes: Sequence[str] = (),
    sweep: Sweep | None = None,
    words: Words | None = None,
) -> str:
    """Return the page as text; all text from files is escaped."""
    labels = list(dict.fromkeys(label for run in runs for label in run.labels()))
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = _top(runs, labels) | _charts(runs, labels) | _one_run(best_run(runs), alone=len(runs) == 1)
    parts |= _card(best_run(runs), words)
    compared = compare(runs, sweep) if len(runs) > 1 else None
    parts |= _comparison(compared, labels)
    parts["answer"] = winner(compared) if compared else score_sentences(runs[0]) if len(runs) == 1 else ""
    return environment.get_template("run.html").render(notes=notes, **parts)


def _top(runs: Sequence[Run], labels: Sequence[str]) -> dict[str, Any]:
    return {
        "title": title(runs),
        "subtitle": subtitle(runs),
        "facts": facts(runs),
        "machines": machines(runs),
        "headline": headline(runs[0]) if len(runs) == 1 else [],
        "results": tables.results(runs, labels),
        "effort": tables.effort(runs),
        "results_notes": without_file(runs, run_folder.SUMMARY)
        + without_file(runs, run_folder.ENVIRONMENT)
        + one_machine(runs),
    }


def _comparison(found: Comparison | None, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "comparison": found and tables.comparison(found, labels),
        "comparison_notes": baseline_absent(found),
        "together": [
            (group.name, scores.by_label(pool_folds(group.runs), labels))
            for group in (found.groups if found else ())
            if len({run.summary.fold for run in group.runs}) > 1
        ],
        "comparison_legend": tradeoff.legend(found) if found else [],
        "tradeoffs": tradeoff.tradeoffs(found) if found else [],
    }


def _has_card(run: Run) -> bool:
    """Return whether a run has a model card; searches and evaluations of label maps have no network."""
    return run.config is not None and not run.summary.of_search


def _card(run: Run, words: Words | None) -> dict[str, Any]:
    if not _has_card(run):
        return {"card": (), "card_file": ""}
    card = model_card(run, words)
    text = as_markdown(title([run]), card).encode(errors="backslashreplace")
    return {"card": card, "card_file": "data:text/markdown;base64," + base64.b64encode(text).decode("ascii")}


def _charts(runs: Sequence[Run], labels: Sequence[str]) -> dict[str, Any]:
    layouts = kernels.layouts(runs)
    return {
        "curves": curves.curves(runs, labels),
        "curves_legend": curves.legend(runs, labels),
        "curves_notes": without_file(runs, run_folder.METRICS),
        "kernels": kernels.kernel_charts(layouts),
        "kernels_legend": kernels.legend(layouts),
        "kernels_notes": kernels_absent(runs),
        "strips": strips.strips(runs, labels) if any(run.scores for run in runs) else [],
        "strips_notes": without_scores(runs),
    }


def _one_run(run: Run, *, alone: bool) -> dict[str, Any]:
    """Return the parts of the page about the only run, or about the best one."""
    return {
        "alone": alone,
        "dash": DASH,
        "shown": run.name,
        "cost": tables.cost(run.summary),
        "race": race(run),
        "plan": tables.plan(run),
        "plan_notes": without_file([run], run_folder.PLAN),
        "by_label": scores.by_label(run.scores or (), run.labels()),
        "by_case": scores.by_case(run),
        "every_metric": scores.every_metric(run),
        "by_stratum": scores.by_stratum(run),
        "method": scores.method_note(run),
        "scan_warnings": list(run.scan_warnings),
        "calibrated": scores.calibrated(run),
        "reliability": reliability.reliability(run.calibration),
        "reliability_legend": reliability.legend(run.calibration),
        "cases": case_views(run),
        "cases_legend": pictures.legend(run.label_values),
        "cases_notes": without_scores([run]) + without_file([run], run_folder.SPLIT),
    }
