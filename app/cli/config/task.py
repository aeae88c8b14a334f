"""The task that a configuration names: its data set, downloaded or generated if missing, and its settings."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from app.cli.config.settings import read_settings, section_values
from app.core.errors import InputError
from app.core.moved import listed_paths
from app.core.optional import require_packages
from app.core.reading import BY_NAME, BY_SUFFIX, Reading
from app.core.task import Case, GroupRule, KnownGroups, Task
from app.data.sample.groups import groups_by_prefix
from app.data.sample.split import Folds
from app.data.sample.split_names import named, names_in, read_split_file
from app.data.sets.anonymous import without_patients
from app.data.sets.dataset_json import DATASET_JSON
from app.data.sets.decathlon import read_task
from app.data.sets.download import Archive, fetch_task
from app.data.sets.joined import joined
from app.data.sets.phantom import PhantomSettings, generate_phantom
from app.data.sets.planted import PlantedSettings, generate_planted
from app.data.sets.relabel import labels_text, relabelled
from app.io.label_values import listed_values

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitSettings:
    """The cases that train, are held out, or form the test set; the values are in conf/split."""

    rule: str
    stratify: bool
    file: str | None
    test: Any
    exclude: Any


@dataclass(frozen=True)
class TaskSettings:
    """Settings of a task that its data set does not contain."""

    folder: Any
    """Folder of the data set, or a list of folders whose cases train together."""
    download: bool
    archive: dict[str, Any] | None
    phantom: dict[str, Any] | None
    planted: dict[str, Any] | None
    group: dict[str, Any] | None
    regions: dict[str, list[int]] | None
    ignore: Any
    """Name of a label, or list of names and label values, whose voxels neither train nor count in scores."""
    nsd_tolerance_mm: float
    channels: Any
    """Order of a scan's channels if each has its own file or series."""
    slice_jitter: float
    """Largest deviation of a DICOM series' slices from an even grid, as a share of their distance."""
    strata: str | None
    """CSV file with the column `case`, and other columns by whose values scores are grouped."""
    steps: int | None
    """Optimizer steps of a training; None for as many as are planned."""
    dataset: str = DATASET_JSON
    """File in the folder that lists the cases."""
    labels: dict[str, Any] | None = None
    """{name: label values or names}: merged, selected and ordered labels that replace the data set's."""
    tubes: list[str] | None = None
    """Names of labels or regions that are tubes, whose centre lines are scored as well."""
    anonymous: bool = False
    """Whether cases named after their patients are renamed; runs from older versions lack this."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that `folder` names."""
        return listed_paths(self.folder)

    def only_folder(self, setting: str) -> Path:
        """Return the folder of the data set, for a setting that works on one folder.

        Raises:
            InputError: there are several.
        """
        if len(self.folders) != 1:
            raise InputError(f"{setting}: got {len(self.folders)} folders in task.folder, wanted one")
        return self.folders[0]

    def group_rule(self, task: Task) -> GroupRule | None:
        """Return how cases are grouped: as set, or as the cases' names clearly show, which is logged."""
        if not self.group or self.group["pattern"] is None:
            return None
        if self.group["pattern"] != "auto":
            return _named(read_settings(GroupRule, self.group, "task.group"), task)
        rule = _found_in_names(task)
        if rule is None:
            return None
        example = next(case.id for case in task.cases if rule.key(case.id) != case.id)
        log.info(
            "%d cases belong to %d groups by their names (%s belongs to %s), and a group stays in one fold; "
            "task.group.pattern=null makes each case a group of its own",
            *(len(task.cases), len({rule.key(case.id) for case in task.cases}), example, rule.key(example)),
        )
        return rule


def _found_in_names(task: Task) -> GroupRule | None:
    """Return the rule that the names of cases clearly show, looked for in each folder by itself."""
    found = [groups_by_prefix([case.grouped_as for case in part.cases]) for part in task.parts]
    if len(found) == 1 or not any(found):
        return None if found[0] is None else _named(found[0], task)
    known: dict[str, str] = {}
    for part, rule in zip(task.parts, found, strict=True):
        own = None if rule is None else _named(rule, part)
        for case in part.cases:
            known[case.id] = known[case.own_id] = case.id if own is None else own.key(case.id)
    pattern = next(rule.pattern for rule in found if rule)
    return KnownGroups(pattern, None, known, everyone=True)


def _named(rule: GroupRule, task: Task) -> GroupRule:
    """Return the rule for renamed cases; a group of theirs is called after its first case."""
    cases = (*task.cases, *task.test)
    if all(case.grouped_as == case.id for case in cases):
        return rule
    first: dict[str, str] = {}
    for case in cases:
        first.setdefault(rule.captured(case.grouped_as), case.id)
    known = {case.id: first[rule.captured(case.grouped_as)] for case in cases}
    return KnownGroups(rule.pattern, rule.block, known)


def open_task(cfg: DictConfig) -> tuple[Task, TaskSettings]:
    """Return the task and its settings, with its data set on disk.

    Raises:
        InputError: the data set is missing or wrong.
    """
    if OmegaConf.is_missing(cfg.task, "folder"):
        raise InputError("task.folder: not set; set task.folder=<folder with a dataset.json>")
    settings = read_settings(TaskSettings, section_values(cfg.task), "task")
    _make_data_set(settings)
    _refuse_outside_data(settings, cfg)
    tasks = [anonymised(read_task(folder, settings.dataset), settings) for folder in settings.folders]
    task = with_targets(joined(tasks), settings)
    chosen = cfg.get("split")  # runs from older versions have no such section
    if chosen is not None:
        task = _set_aside(task, read_settings(SplitSettings, chosen, "split"), settings, read_fold(cfg.fold))
    return task, settings


def _refuse_outside_data(settings: TaskSettings, cfg: DictConfig) -> None:
    """Refuse a missing folder that exists inside paths.data, where task.folder does not look."""
    data = Path(str(cfg.paths.data))
    for folder in settings.folders:
        if not folder.is_dir() and (data / folder / settings.dataset).is_file():
            raise InputError(f"task.folder: {folder}: no such folder; did you mean {data / folder}?")


def _make_data_set(settings: TaskSettings) -> None:
    """Generate or download the data set if it is missing."""
    if not settings.folders:
        raise InputError("task.folder: got an empty list, wanted one folder or several")
    if settings.phantom is not None:
        folder = settings.only_folder("task.phantom")
        generate_phantom(folder, settings=read_settings(PhantomSettings, settings.phantom, "task.phantom"))
    if settings.planted is not None:
        folder = settings.only_folder("task.planted")
        generate_planted(folder, settings=read_settings(PlantedSettings, settings.planted, "task.planted"))
    if settings.download and settings.archive:
        folder = settings.only_folder("task.download")
        if not folder.is_dir():
            fetch_task(read_settings(Archive, settings.archive, "task.archive"), folder.parent, folder.name)


def read_fold(value: Any) -> int | None:
    """Return the fold that is held out; None for none.

    Raises:
        InputError: it is not a number.
    """
    if value is None or str(value).lower() == "none":
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"fold: got {value!r}, wanted a number from 0, all, or none to train on all cases")
    return value


def configured_folds(cfg: DictConfig, task: Task, settings: TaskSettings) -> Folds:
    """Return which cases a configuration holds out.

    Raises:
        InputError: a setting or a file of a split is wrong.
    """
    fold, group = read_fold(cfg.fold), settings.group_rule(task)
    if cfg.get("split") is None:
        return Folds(fold, cfg.folds, cfg.split_seed, group)
    chosen = read_settings(SplitSettings, cfg.split, "split")
    names = None if chosen.file is None or fold is None else read_split_file(Path(chosen.file), fold)
    return Folds(fold, cfg.folds, cfg.split_seed, group, chosen.rule, chosen.stratify, names)


def _set_aside(task: Task, chosen: SplitSettings, settings: TaskSettings, fold: int | None) -> Task:
    """Return the task without excluded cases, with its test cases apart.

    Cases that a split file does not list are left out too.
    """
    if chosen.file is None and chosen.test is None and chosen.exclude is None:
        return task
    group, everyone = settings.group_rule(task), {case.id for case in task.cases}
    read = {key: names_in(getattr(chosen, key), f"split.{key}") for key in ("test", "exclude")}
    found = {key: named(names, task.cases, group, f"split.{key}") for key, names in read.items()}
    if chosen.file is not None:
        names = read_split_file(Path(chosen.file), fold or 0)
        found["test"] |= named(names.test, task.cases, group, "split.file")
        inside = named((*names.train, *names.validation), task.cases, group, "split.file")
        if twice := sorted(inside & found["test"]):
            raise InputError(f"split.file: {twice[0]} is in the test set, but also trains or is held out")
        found["exclude"] |= everyone - inside - found["test"]
    if found["exclude"]:
        log.info("%d of %d cases are left out", len(found["exclude"]), len(everyone))
    test = tuple(case for case in task.cases if case.id in found["test"] - found["exclude"])
    kept = tuple(case for case in task.cases if case.id not in found["test"] | found["exclude"])
    if not kept:
        raise InputError("split: got no case to train on, wanted at least one")
    _warn_of_leak(kept, test, group)
    return replace(task, cases=kept, test=test)


def _warn_of_leak(kept: Sequence[Case], test: Sequence[Case], group: GroupRule | None) -> None:
    if group is None:
        return
    known = {group.key(case.id) for case in kept}
    shared = [case.id for case in test if group.key(case.id) in known]
    if shared:
        log.warning(
            "split: %d test cases belong to groups that also train, so test scores are too good: %s",
            *(len(shared), ", ".join(shared[:5])),
        )


def anonymised(task: Task, settings: TaskSettings) -> Task:
    """Return the task of one folder with its cases not named after patients, unless that is switched off."""
    return without_patients(task, settings.dataset) if settings.anonymous else task


def with_targets(task: Task, settings: TaskSettings) -> Task:
    """Return the task with its regions and its ignored label."""
    ignored = [] if settings.ignore is None else settings.ignore
    ignored = list(ignored) if isinstance(ignored, list | tuple) else [ignored]
    if settings.labels or len(ignored) > 1 or (ignored and ignored != [task.labels[-1]]):
        task = relabelled(task, settings.labels, ignored)
        for part in task.parts:
            log.info("labels of %s: %s", task.folders[part.cases[0].part], labels_text(part))
    elif ignored:
        task = replace(task, ignore=len(task.labels) - 1)
    regions = {name: _classes(name, values, task) for name, values in (settings.regions or {}).items()}
    regions = regions or dict(task.regions)
    channels = settings.channels if isinstance(settings.channels, str) else tuple(settings.channels)
    if settings.channels == BY_NAME and task.reading.channels == BY_SUFFIX:
        channels = BY_SUFFIX
    reading = Reading(channels, settings.slice_jitter, task.modalities)
    found = replace(task, regions=regions, reading=reading)
    found.check_distinguishable()
    return replace(found, tubes=_tubes(settings, found))


def _tubes(settings: TaskSettings, task: Task) -> tuple[str, ...]:
    """Return the targets that are tubes, if the package that finds centre lines is installed."""
    tubes = tuple(settings.tubes or ())
    if unknown := [name for name in tubes if name not in task.targets]:
        raise InputError(f"task.tubes: got {unknown}, wanted names among {', '.join(task.targets)}")
    if tubes:
        require_packages("task.tubes", "scikit-image")
    return tubes


def _classes(region: str, values: Sequence[int], task: Task) -> tuple[int, ...]:
    """Return the classes of a region's label values."""
    unknown = [value for value in values if value not in task.label_values]
    if unknown:
        wanted = listed_values(task.label_values[1:])
        raise InputError(f"task.regions: {region}: got {unknown}, wanted label values {wanted}")
    return tuple(map(task.label_values.index, values))
