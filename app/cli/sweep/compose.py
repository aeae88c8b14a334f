"""The configuration of each job before it is launched, checked and hashed."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from app.cli.config.paths import quoted
from app.cli.config.run_config import PLACES
from app.cli.config.suggest import explain
from app.cli.sweep.jobs import Job
from app.core.digest import digest_of
from app.core.errors import InputError, interrupts_kept

_OF_ONE_MODE = ("analyze", "check", "compress", "evaluate", "export", "predict", "search", "time")
"""Sections of the configuration that only the mode of the same name reads."""


def compose(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of a job in the sweep that has the configuration `config`.

    Raises:
        InputError: an override names something that does not exist.
    """
    loader = GlobalHydra.instance().config_loader()
    try:
        with interrupts_kept():
            return loader.load_sweep_config(config, list(overrides))
    except HydraException as error:
        raise InputError(f"sweep: {explain(error, overrides, loader)}") from None


def digests(config: DictConfig, jobs: Sequence[Job]) -> list[str]:
    """Return a hash per job of all that determines its result, including jobs that it refers to."""
    found: dict[str, str] = {}
    for job in jobs:
        composed = compose(config, job.overrides)
        values = OmegaConf.to_container(composed, resolve=False)  # `now` and places differ each time
        assert isinstance(values, dict)
        mode = composed.hydra.runtime.choices.mode
        other = {section for section in _OF_ONE_MODE if section != mode}
        kept = {key: value for key, value in values.items() if key not in {*PLACES, *other}}
        before = [found[job.target(line, jobs).name] for line in job.references]
        found[job.name] = digest_of([kept, before])[:16]
    return list(found.values())


def launched(folder: Path, job: Job, jobs: Sequence[Job]) -> list[str]:
    """Return the overrides for a launcher, with files of earlier jobs filled in and the job's folder set."""
    folders = {line: str(folder / job.target(line, jobs).name) for line in job.references}
    place = {"hydra.sweep.dir": quoted(str(folder)), "hydra.sweep.subdir": quoted(job.name)}
    words = [f"{key}={value}" for key, value in place.items()]
    return [*job.resolved(folders), *words, "hydra.mode=MULTIRUN"]
