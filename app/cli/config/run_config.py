"""The run folder of a training, and the configuration of a run that resumes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from yaml import YAMLError

from app.cli.config.folders import is_multirun, named_after_time, open_folder, opened
from app.cli.config.paths import shell_word
from app.cli.config.settings import literal
from app.core import run_folder
from app.core.errors import InputError, Interrupted, interrupts_kept
from app.core.files import read_text, write_text
from app.core.moved import UNMOVED, Moved, listed_paths
from app.core.nested import dotted
from app.core.plan import read_plan
from app.core.renamed import renamed_config

_OF_THE_NETWORK = (
    *("task", "plan", "model", "op", "decoder_op", "choices"),
    *("fold", "folds", "split_seed", "split"),
)
PLACES = ("paths", "device", "threads", "report", "sweep", "tune", "log", "track", "hydra")
"""Keys of the configuration that change where and how fast a job runs, but not its results."""
AUTO = "auto"
"""Value of train.resume that begins a run, or resumes the one in paths.run."""
_KEPT = ("train.init", "train.freeze", "train.layer_decay")  # fixed when the run began
_CHANGEABLE = ("train.", "paths.", "task.folder", "optimizer.lr", "device", "threads")


@contextmanager
def open_run(cfg: DictConfig) -> Iterator[tuple[Path, bool]]:
    """Yield the run's folder, locked, and whether the run resumes from a checkpoint there.

    Raises:
        InputError: another process uses the folder, or the folder of a new run already holds a run.
    """
    with opened(Path(cfg.train.resume)) if cfg.train.resume is not None else open_folder(cfg) as folder:
        resumes = run_folder.can_resume(folder)
        if resumes and cfg.train.resume is None and not is_multirun():  # a sweep's job has its own folder
            raise InputError(
                f"{folder}: already holds a run; resume it with {shell_word('train.resume', folder)}, "
                "or set paths.run"
            )
        try:
            with interrupts_kept():
                yield folder, resumes
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(_how_to_resume(folder)) from None


def begun_or_resumed(cfg: DictConfig) -> DictConfig:
    """Return the configuration for `train.resume=auto`: of a new run, or of the run in `paths.run`.

    Raises:
        InputError: paths.run contains the time, or holds a run with another configuration.
    """
    if is_multirun():  # a sweep resumes its jobs itself
        return _with(cfg, {"train": {"resume": None}})
    if named_after_time(cfg):
        raise InputError(f"train.resume={AUTO}: needs a folder that stays the same; set paths.run=<folder>")
    folder = Path(cfg.paths.run)
    if not run_folder.can_resume(folder):
        return _with(cfg, {"train": {"resume": None}})
    _refuse_another(cfg, folder)
    return resumed_config(_with(cfg, {"train": {"resume": literal(str(folder))}}), same=True)


def _refuse_another(cfg: DictConfig, folder: Path) -> None:
    """Check that a command describes the run in a folder: keys that both have must have equal values."""
    stored = stored_config(folder, "paths.run", resumes=True)
    if _mode_of(stored) != _mode_of(cfg):
        raise InputError(
            f"train.resume={AUTO}: {folder} holds a run of another mode ({_mode_of(stored)}); set another "
            f"paths.run for one of {_mode_of(cfg)}"
        )
    ours, theirs = (
        dict(dotted(OmegaConf.to_container(one, resolve=True)))  # type: ignore[arg-type]
        for one in (cfg, stored)
    )
    for key, value in ours.items():
        free = _is_changeable(key) or key.split(".")[0] in (*PLACES, "mode")
        if key in theirs and theirs[key] != value and not isinstance(value, dict) and not free:
            raise InputError(
                f"{key}: got {value!r}, the run in {folder} was started with {theirs[key]!r}; "
                "set another paths.run for another run"
            )


def _mode_of(cfg: DictConfig) -> str:
    """Return `mode=<name>`; the function that a mode runs is in the file of that name."""
    return f"mode={str(cfg.mode.run).split('.')[-2]}"


def _with(cfg: DictConfig, changes: dict[str, Any]) -> DictConfig:
    merged = OmegaConf.merge(cfg, changes)
    assert isinstance(merged, DictConfig)
    return merged


def resumed_config(cfg: DictConfig, *, same: bool = False) -> DictConfig:
    """Return the configuration that the run of `train.resume` began with, with changes by this command.

    Only limits and places may change. With `same` the command is known to be the one that began the run, so
    it may repeat other settings.

    Raises:
        InputError: there is no run to resume, or an override would change its results.
    """
    stored = completed(stored_config(Path(cfg.train.resume), "train.resume", resumes=True), cfg)
    with open_dict(stored):
        stored.train.resume = literal(cfg.train.resume)
        if same_mode := stored.mode.run == cfg.mode.run:
            stored.mode = cfg.mode  # includes settings that the run's version did not know
    for override in OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task)):
        key = override.key_or_group
        if key == "log" or (key == "mode" and same_mode):
            continue
        if key == "train.resume" or (same and not _is_changeable(key)):
            continue
        if key == "paths.run" and not _same(override.value(), cfg.train.resume):
            raise InputError(
                f"train.resume: the run resumes in its own folder, {cfg.train.resume}; leave out "
                f"{override.input_line}"
            )
        if key == "train.steps" and same and override.value() == _steps(stored):
            continue
        if key == "train.steps":
            raise InputError(
                f"train.resume: the learning rate schedule of the run ends after its {_steps(stored)} "
                "steps; leave out "
                f"{override.input_line}; another number of steps needs a new run"
            )
        if not _is_changeable(key):
            raise InputError(
                f"train.resume: the run keeps its configuration; leave out {override.input_line}"
            )
        if key not in ("paths.data", "task.folder"):
            OmegaConf.update(stored, key, literal(override.value()))
    return where_it_is(stored)


def _same(one: object, other: object) -> bool:
    return Path(str(one)).resolve() == Path(str(other)).resolve()


def _is_changeable(key: str) -> bool:
    """Return whether a key may have another value when a run resumes."""
    return key.startswith(_CHANGEABLE) and key not in _KEPT


def data_moved() -> Moved:
    """Return where data sets are now, according to this command's paths.data and task.folder."""
    if not HydraConfig.initialized():
        return UNMOVED
    typed = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    said = {each.key_or_group: each.value() for each in typed if not each.is_sweep_override()}
    data, folder = (said.get(key) for key in ("paths.data", "task.folder"))
    return Moved(None if data is None else Path(str(data)), listed_paths(folder))


def where_it_is(stored: DictConfig) -> DictConfig:
    """Return a run's stored configuration with its data set at the place that this command names.

    Raises:
        InputError: the command sets paths.data, but the data set was not below the run's paths.data.
    """
    moved = data_moved()
    data = OmegaConf.select(stored, "paths.data")
    before = listed_paths(OmegaConf.to_container(stored.task)["folder"])  # type: ignore[call-overload,index]
    folders = [str(each) for each in moved.folders_of(before, None if data is None else Path(data))]
    changed: dict[str, Any] = {"task": {"folder": folders if len(folders) > 1 else folders[0]}}
    if moved.data is not None:
        changed["paths"] = {"data": str(moved.data)}
    merged = OmegaConf.merge(stored, literal(changed))
    assert isinstance(merged, DictConfig)
    return merged


def _steps(stored: DictConfig) -> int:
    if stored.train.steps is not None:
        return int(stored.train.steps)
    return read_plan(Path(stored.train.resume) / run_folder.PLAN)[0].steps


def job_number() -> int:
    """Return the number of this job in its sweep, from 0; 0 for a single command."""
    return int(HydraConfig.get().job.num) if HydraConfig.initialized() and is_multirun() else 0


def write_config(folder: Path, cfg: DictConfig) -> None:
    """Write the run's configuration with all values resolved; that it was resumed is not recorded."""
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    values["train"]["resume"] = None
    values["paths"]["run"] = str(folder)
    write_text(folder / run_folder.CONFIG, OmegaConf.to_yaml(literal(values)))


def adopted_config(cfg: DictConfig, source: Path, setting: str) -> DictConfig:
    """Return this command's configuration with the data, network and flips of another run.

    Raises:
        InputError: that folder holds no run; `setting` is the key that named it.
    """
    stored = completed(where_it_is(stored_config(source, setting)), cfg)
    taken: dict[str, Any] = {key: stored.get(key) for key in _OF_THE_NETWORK}
    ours = {str(key): cfg[key] for key in cfg if key not in taken}
    adopted = OmegaConf.create({**ours, **taken})
    adopted.augment = OmegaConf.merge(adopted.augment, {"flip_axes": stored.augment.flip_axes})
    return adopted


def stored_config(folder: Path, setting: str, *, resumes: bool = False) -> DictConfig:
    """Return the configuration that a run began with, in current names; `setting` is the key of its folder.

    With `resumes`, a run that has only trained a part of its first stage is accepted.

    Raises:
        InputError: that folder holds no run, or its configuration cannot be read.
    """
    path = folder / run_folder.CONFIG
    begun = run_folder.can_resume(folder) if resumes else (folder / run_folder.LAST).is_file()
    if not path.is_file() or not begun:
        raise InputError(
            f"{setting}: {folder}: wanted a run folder with {run_folder.CONFIG} and {run_folder.LAST}"
        )
    text = read_text(path)
    try:
        values = OmegaConf.to_container(OmegaConf.create(text))
    except (YAMLError, ValueError, AssertionError) as error:  # OmegaConf asserts that it is not a number
        raise InputError(f"{path}: not a configuration ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a configuration (it holds a list)")
    return OmegaConf.create(renamed_config({str(key): value for key, value in values.items()}))


def _how_to_resume(folder: Path) -> str:
    """Return the message about a run that is interrupted outside of its training steps."""
    if run_folder.can_resume(folder):
        return f"interrupted; resume with {shell_word('train.resume', folder)}"
    return "interrupted before the first checkpoint; the same command starts again and reuses prepared cases"


def completed(stored: DictConfig, cfg: DictConfig) -> DictConfig:
    """Return a stored configuration with defaults for keys of task and plan that its version lacked."""
    known: dict[str, Any] = {key: OmegaConf.merge(cfg[key], stored[key]) for key in ("task", "plan")}
    return OmegaConf.create({**{str(key): stored[key] for key in stored}, **known})
