"""The mode check: read every case once and list what is wrong; the exit code is 1 if there are errors."""

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.prompt import Prompt
from rich.table import Table
from rich.text import Text

from app.cli.config.folders import open_folder
from app.cli.config.settings import read_settings, required
from app.cli.config.task import TaskSettings, anonymised, open_task, with_targets
from app.core import run_folder
from app.core.errors import InputError
from app.core.files import write_json
from app.core.hidden import hide
from app.core.listed import listed
from app.core.machine import usable_cores
from app.core.moved import listed_paths
from app.core.task import Task
from app.data.doctor.check import Checked, check_task
from app.data.doctor.finding import Severity
from app.data.doctor.repair import repair_task
from app.data.doctor.table import rows, write_check
from app.data.sets.additions import next_file, with_additions
from app.data.sets.dataset_json import describe_folder, write_dataset_json
from app.data.sets.decathlon import TaskFile, read_task_file, task_of
from app.infer.batch.scans import find_scans
from app.io.privacy import known_as
from app.report.page.check import write_check_page

log = logging.getLogger(__name__)

_PRINTED = ("case", "status", "voxels", "findings")
_COLORS = {"error": "red", "warning": "yellow", "note": "cyan", "ok": "green"}


@dataclass(frozen=True)
class _Settings:
    """What is written besides the result of the check."""

    repair: str | None
    add: str | None
    scans: Any
    """Path or list of paths."""
    write_dataset_json: bool
    modality: tuple[str, ...] | None
    labels: tuple[str, ...] | None


def run(cfg: DictConfig) -> Path:
    """Print and write check.csv and check.html.

    Before, dataset.json is written if asked for; afterwards, a repaired copy or a list with added cases.

    Raises:
        InputError: there are errors that were not repaired.
    """
    settings = read_settings(_Settings, cfg.check, "check")
    with open_folder(cfg) as folder:
        if settings.write_dataset_json:
            _describe(cfg, settings)
        task, facts = open_task(cfg)
        added = None if settings.add is None else _added(settings, task, facts)
        if added is not None:
            task = with_targets(anonymised(task_of(added), facts), facts)
        task = replace(task, cases=(*task.cases, *task.test))
        checked = check_task(task, facts.group_rule(task), workers=len(usable_cores()))
        _print(checked, task.name)
        write_check(folder / run_folder.CHECK, checked)
        write_check_page(folder / run_folder.CHECK, folder / run_folder.CHECK_PAGE, name=task.name)
        log.info("check: %s", folder / run_folder.CHECK_PAGE)
        if settings.repair is not None:
            target = Path(settings.repair)
            source = read_task_file(facts.only_folder("check.repair"), facts.dataset)
            repaired = repair_task(source, checked, target, task.reading)
            log.info("%d of %d cases repaired in a copy: %s", repaired, len(task.cases), target)
            _warn_of_guesses(checked)
        _refuse_errors(checked, repaired=settings.repair is not None, table=folder / run_folder.CHECK)
        if added is not None:
            write_json(added.path, added.facts)
            log.info(
                "%s lists %d cases; train on them with task.dataset=%s and train.init=<run folder>",
                added.path,
                len(task.cases),
                added.path.name,
            )
        return folder


def _added(settings: _Settings, current: Task, facts: TaskSettings) -> TaskFile:
    """Return the new content of dataset.json with the label maps of `check.add`, without writing it."""
    if facts.labels:
        raise InputError("check.add: leave out task.labels; label maps are added with the data set's values")
    if settings.repair is not None:
        raise InputError("check.repair: cannot be combined with check.add; run one command for each")
    known, masks = read_task_file(facts.only_folder("check.add"), facts.dataset), Path(str(settings.add))
    names: dict[str, Path] = {}
    if settings.scans is not None:
        found = find_scans(listed_paths(settings.scans), masks, current.reading).names
        aliases = known_as(found, anonymous=True)
        names = {alias.name: scan for scan, alias in aliases.items()} | {name: s for s, name in found.items()}
        if facts.anonymous:
            hide(word for alias in aliases.values() for word in alias.words)
    content, new, corrected = with_additions(known, masks, names, _aliases(known, current))
    log.info(
        "%d cases are new (%s), %d have another label map (%s)",
        len(new),
        listed(new) or "none",
        len(corrected),
        listed(corrected) or "none",
    )
    return TaskFile(known.folder, next_file(known.path), content)


def _aliases(known: TaskFile, current: Task) -> dict[str, str]:
    """Return the names of cases in the data set by the names that predictions and runs give them."""
    own = {case.image: case.id for case in task_of(known).cases}
    predicted = {alias.name: own[scan] for scan, alias in known_as(own, anonymous=True).items()}
    return predicted | {case.id: case.own_id for case in (*current.cases, *current.test)}


def _describe(cfg: DictConfig, settings: _Settings) -> None:
    """Write dataset.json; ask for the names that no file contains."""
    if isinstance(cfg.task.folder, ListConfig):
        raise InputError("check.write_dataset_json: got several folders in task.folder, wanted one")
    described = describe_folder(Path(required(cfg.task, "folder", "task", wanted="folder")))
    modality = settings.modality or _ask([f"channel {i}" for i in range(described.channels)], "modality")
    values = [f"label value {value}" for value in described.values]
    labels = settings.labels or ["background", *_ask(values, "labels")]
    path = write_dataset_json(described, modality=list(modality), labels=list(labels))
    log.info("%d cases listed in %s", len(described.pairs), path)


def _ask(things: list[str], key: str) -> list[str]:
    if not sys.stdin.isatty():
        raise InputError(f"check.{key}: not set; wanted names of {', '.join(things)}: check.{key}=[...]")
    return [Prompt.ask(f"Name of {thing}") for thing in things]


def _print(checked: Checked, name: str) -> None:
    """Print one row per case with a finding; the files have the other cases and more columns."""
    table = Table(title=name)
    for column in _PRINTED[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(_PRINTED[-1], ratio=1)
    for row in rows(checked):
        if row["findings"]:
            styles = {"status": _COLORS[row["status"]]}
            table.add_row(*(Text(row[column], style=styles.get(column, "")) for column in _PRINTED))
    if table.row_count:
        Console().print(table)
    counts = [(checked.count(severity), severity) for severity in Severity]
    found = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for count, severity in counts)
    log.info("%d cases: %s", len(checked.cases), found)


def _warn_of_guesses(checked: Checked) -> None:
    """Warn of voxels that were not finite and are background in the copy, for a person to check."""
    for case, found in checked.findings.items():
        for one in found:
            if one.kind == "not_finite":
                log.warning("%s: %s, background in the copy; check whether that is right", case, one.found)


def _refuse_errors(checked: Checked, *, repaired: bool, table: Path) -> None:
    errors = [
        (case, one.kind)
        for case, found in checked.findings.items()
        for one in found
        if one.severity == Severity.ERROR and not (repaired and one.repairable)
    ]
    if errors:
        named = listed((f"{case or 'the set'} {kind}" for case, kind in errors), 3)
        left = "left after repair" if repaired else "found"
        raise InputError(f"{len(errors)} errors {left}: {named}; see {table}")
