"""The run folder of a training, and the configuration of one that goes on."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from app.cli.config.run_log import log_into
from app.core import run_folder
from app.core.errors import InputError
from app.core.files import write_text, writing
from app.core.plan import Plan

_OF_THE_NETWORK = ("task", "plan", "model", "op", "decoder_op", "fold", "folds", "split_seed")
_CHANGEABLE = ("train.", "paths.", "task.folder", "device", "threads")


def open_run(cfg: DictConfig) -> tuple[Path, DictConfig, bool]:
    """The run's folder, its configuration, and whether it goes on from a checkpoint there.

    Raises:
        InputError: the folder of a new run holds one already.
    """
    if cfg.train.resume is not None:
        folder = Path(cfg.train.resume)
        log_into(folder)
        return folder, cfg, True
    folder = open_folder(cfg)
    going_on = (folder / run_folder.LAST).exists()
    if going_on and is_multirun():  # a sweep only sends a job to a folder of the same configuration
        return folder, cfg, True
    if going_on:
        raise InputError(f"{folder}: holds a run already; go on with train.resume={folder} or set paths.run")
    return folder, cfg, False


def resumed_config(cfg: DictConfig) -> DictConfig:
    """What the run of `train.resume` began with, its mode too, changed by this command's limits and places.

    Raises:
        InputError: there is no run to go on with, or an override would make another of it.
    """
    stored = stored_config(Path(cfg.train.resume), "train.resume")
    complete(stored, cfg)
    if same_mode := stored.mode.run == cfg.mode.run:
        stored.mode = cfg.mode  # with facts that the run's version of this program did not know
    for override in OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task)):
        key = override.key_or_group
        if key == "log" or (key == "mode" and same_mode):
            continue
        if key == "train.steps":
            raise InputError(
                f"train.resume: the learning rate of the run ends with its {stored.train.steps} steps, "
                f"leave out {override.input_line}; another number of steps takes a new run"
            )
        if not key.startswith(_CHANGEABLE):
            raise InputError(
                f"train.resume: the run keeps its configuration, leave out {override.input_line}"
            )
        OmegaConf.update(stored, key, override.value())
    return stored


def is_multirun() -> bool:
    """Whether this is one job of several."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def as_planned(cfg: DictConfig, plan: Plan, *, length: int = 1) -> DictConfig:
    """With the plan's steps and foreground share where `train` sets none, and `length` times the steps."""
    planned = cfg.copy()
    for key in ("steps", "foreground_share"):
        if planned.train[key] is None:
            planned.train[key] = getattr(plan, key)
    planned.train.steps *= length
    return planned


def write_config(folder: Path, cfg: DictConfig) -> None:
    """Record what a run is decided to be, all values resolved; not that it was resumed."""
    recorded = cfg.copy()
    recorded.train.resume = None
    write_text(folder / run_folder.CONFIG, OmegaConf.to_yaml(recorded, resolve=True))


def adopt(cfg: DictConfig, source: Path) -> DictConfig:
    """This command's configuration, for the data and the network of another run, flipped as it was.

    Raises:
        InputError: that folder holds no run.
    """
    stored = stored_config(source, "compress.model")
    adopted = cfg.copy()
    with open_dict(adopted):
        for key in (*_OF_THE_NETWORK, "choices"):
            adopted[key] = stored[key]
        complete(adopted, cfg)
    return with_flips(adopted, stored.augment.flip_axes)


def with_flips(cfg: DictConfig, axes: Sequence[int]) -> DictConfig:
    """The configuration for networks whose training flipped these axes: what is mirrored follows them."""
    changed = cfg.copy()
    changed.augment.flip_axes = list(axes)
    return changed


def stored_config(folder: Path, what: str) -> DictConfig:
    """The configuration a run began with; `what` named its folder.

    Raises:
        InputError: that folder holds no run.
    """
    path = folder / run_folder.CONFIG
    if not path.is_file() or not (folder / run_folder.LAST).is_file():
        raise InputError(
            f"{what}: {folder}: wanted a run folder with {run_folder.CONFIG} and {run_folder.LAST}"
        )
    stored = OmegaConf.load(path)
    assert isinstance(stored, DictConfig)
    return stored


def open_folder(cfg: DictConfig) -> Path:
    """The folder that takes this run's files: `paths.run`, or the job's own in a multirun."""
    folder = Path(HydraConfig.get().runtime.output_dir) if is_multirun() else Path(cfg.paths.run)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    log_into(folder)
    return folder


def complete(stored: DictConfig, cfg: DictConfig) -> None:
    """Facts of task and plan that the run's version of this program did not know get their defaults."""
    with open_dict(stored):
        for key in ("task", "plan"):
            stored[key] = OmegaConf.merge(cfg[key], stored[key])
