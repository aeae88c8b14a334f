"""The folder that a command writes into."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from app.cli.config.run_log import log_into
from app.core import run_folder
from app.core.errors import InputError
from app.core.files import writing
from app.core.lock import locked

_NOW = "${now:"  # marks a value of paths.run that contains the time


@contextmanager
def open_folder(cfg: DictConfig) -> Iterator[Path]:
    """Yield the folder for this run's files, locked: `paths.run`, or the job's own folder in a multirun.

    A folder named after the time gets a number at its end if another command began in the same second.

    Raises:
        InputError: another process uses the folder, or it is not writable.
    """
    folder = Path(HydraConfig.get().runtime.output_dir) if is_multirun() else Path(cfg.paths.run)
    if not is_multirun() and named_after_time(cfg):
        folder = _fresh_folder(folder)
    with opened(folder):
        yield folder


@contextmanager
def open_other_folder(cfg: DictConfig) -> Iterator[Path]:
    """Yield the folder of `open_folder` for a mode that does not train.

    Raises:
        InputError: the folder holds a run, whose files would be overwritten.
    """
    with open_folder(cfg) as folder:
        if run_folder.can_resume(folder):
            raise InputError(f"{folder}: holds a run whose files would be overwritten; set another paths.run")
        yield folder


@contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """Yield a folder, locked, into which everything is logged."""
    with locked(folder):
        log_into(folder)
        yield folder


def is_multirun() -> bool:
    """Return whether this is one job of several."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def named_after_time(cfg: DictConfig) -> bool:
    """Return whether the folder of the run is named after the time."""
    return _NOW in str(OmegaConf.to_container(cfg.paths, resolve=False)["run"])  # type: ignore[call-overload,index]


def _fresh_folder(folder: Path) -> Path:
    """Make and return the folder, or the first of its name with -2, -3, ... that does not exist."""
    for number in itertools.count(1):
        made = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with writing(made), suppress(FileExistsError):
            made.parent.mkdir(parents=True, exist_ok=True)
            made.mkdir()
            return made
    raise AssertionError("there are endlessly many numbers")
