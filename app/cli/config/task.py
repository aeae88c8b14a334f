"""The task a configuration names: its folder, fetched or generated when it is missing, and its facts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from app.cli.config.settings import plain, read_settings
from app.core.errors import InputError
from app.core.reading import Reading
from app.core.task import GroupRule, Task
from app.data.sample.groups import groups_by_prefix
from app.data.sets.decathlon import read_task
from app.data.sets.download import Archive, fetch_task
from app.data.sets.phantom import PhantomSettings, generate_phantom
from app.data.sets.planted import PlantedSettings, generate_planted
from app.io.label_values import listed_values

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskSettings:
    """What a data set cannot know about itself."""

    folder: str
    download: bool
    archive: dict[str, Any] | None
    phantom: dict[str, Any] | None
    planted: dict[str, Any] | None
    group: dict[str, Any] | None
    regions: dict[str, list[int]] | None
    ignore: str | None
    nsd_tolerance_mm: float
    channels: Any
    """The order of a scan's channels where each has a file or series of its own."""
    slice_jitter: float
    """How far slices of a DICOM series may lie from an even grid, as a share of their distance."""
    strata: str | None
    """A CSV file with the column `case` and others, by whose values scores are divided."""
    steps: int | None
    """A training takes; None for as many as are planned."""

    def group_rule(self, task: Task) -> GroupRule | None:
        """Which cases belong together: as set, or as their names surely say, which is told."""
        if not self.group or self.group["pattern"] is None:
            return None
        if self.group["pattern"] != "auto":
            return read_settings(GroupRule, self.group, "task.group")
        rule = groups_by_prefix([case.id for case in task.cases])
        if rule is not None:
            first = task.cases[0].id
            groups = len({rule.key(case.id) for case in task.cases})
            log.info(
                "%d cases are of %d groups by their names (%s is of %s), which stay together in folds; "
                "task.group.pattern=null takes each by itself",
                *(len(task.cases), groups, first, rule.key(first)),
            )
        return rule


def open_task(cfg: DictConfig) -> tuple[Task, TaskSettings]:
    """The task, its data set on disk.

    Raises:
        InputError: the data set is missing or wrong.
    """
    if OmegaConf.is_missing(cfg.task, "folder"):
        raise InputError("task.folder: not set; set task.folder=<folder with a dataset.json>")
    settings = read_settings(TaskSettings, plain(cfg.task), "task")
    folder = Path(settings.folder)
    if settings.phantom is not None:
        generate_phantom(folder, settings=read_settings(PhantomSettings, settings.phantom, "task.phantom"))
    if settings.planted is not None:
        generate_planted(folder, settings=read_settings(PlantedSettings, settings.planted, "task.planted"))
    if settings.download and settings.archive and not folder.is_dir():
        fetch_task(read_settings(Archive, settings.archive, "task.archive"), folder.parent, folder.name)
    return _with_targets(read_task(folder), settings), settings


def _with_targets(task: Task, settings: TaskSettings) -> Task:
    """The task with its regions and the label that is ignored."""
    if settings.ignore is not None and settings.ignore not in task.labels:
        raise InputError(f"task.ignore: got {settings.ignore!r}, wanted one of {', '.join(task.labels)}")
    regions = {name: _classes(name, values, task) for name, values in (settings.regions or {}).items()}
    ignore = None if settings.ignore is None else task.labels.index(settings.ignore)
    channels = settings.channels if isinstance(settings.channels, str) else tuple(settings.channels)
    reading = Reading(channels, settings.slice_jitter, task.modalities)
    return replace(task, regions=regions, ignore=ignore, reading=reading)


def _classes(region: str, values: Sequence[int], task: Task) -> tuple[int, ...]:
    """The classes of a region's label values."""
    unknown = [value for value in values if value not in task.label_values]
    if unknown:
        wanted = listed_values(task.label_values[1:])
        raise InputError(f"task.regions: {region}: got {unknown}, wanted label values {wanted}")
    return tuple(map(task.label_values.index, values))
