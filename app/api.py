"""The Python interface: `run` does the same as the command line and returns the folder it wrote."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.core import run_folder
from app.core.csv_file import read_csv
from app.core.errors import InputError
from app.core.files import read_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from app.infer.scan.segmenter import Segmenter


@dataclass(frozen=True)
class RunFolder:
    """A folder written by a run: a training, a search, a prediction, an evaluation or another mode.

    Attributes that a mode does not write raise InputError, which names the missing file.
    """

    path: Path

    @property
    def summary(self) -> dict[str, Any]:
        """The figures of summary.json, such as `mean_dice`, `dice` by label, `params` and `train_seconds`."""
        summary: dict[str, Any] = read_json(self.path / run_folder.SUMMARY)
        return summary

    @property
    def cases(self) -> list[dict[str, str]]:
        """The rows of cases.csv: one per held-out case and label, cells as text, empty if undefined."""
        return read_csv(self._file(run_folder.CASES))

    @property
    def predictions(self) -> dict[str, Path]:
        """The label maps by case: of the held-out cases of a training, or of a prediction."""
        folder = self.path / run_folder.PREDICTIONS
        if folder.is_dir():
            return {path.name.removesuffix(".nii.gz"): path for path in sorted(folder.glob("*.nii.gz"))}
        cases = read_json(self.path / run_folder.MANIFEST)["cases"]
        return {case: self.path / facts["output"] for case, facts in cases.items() if "output" in facts}

    @property
    def checkpoint(self) -> Path:
        """The path of the last checkpoint."""
        return self._file(run_folder.LAST)

    @property
    def layout(self) -> Path:
        """The path of network.yaml after a race, of layout.yaml after other searches or trainings."""
        raced = (self.path / run_folder.NETWORK).is_file()
        return self._file(run_folder.NETWORK if raced else run_folder.LAYOUT)

    def segmenter(self, **settings: Any) -> "Segmenter":
        """Return the trained network as a function of a scan; `settings` are those of `Segmenter.load`."""
        from app.infer.scan.segmenter import Segmenter

        return Segmenter.load(self.path, **settings)

    def _file(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        return path


def run(*overrides: str) -> RunFolder:
    """Run a mode in this process as `python run.py <overrides>` does, and return the folder it wrote.

    Overrides are those of the command line, for example `run("task=hippocampus", "train=smoke")`. Progress
    and messages are shown as on the command line. The process stays as it was: working directory, arguments,
    logging, threads, random state and Hydra's state are restored. Sweeps, `fold=all` and `mode=tune` need
    the command line.

    Raises:
        InputError: the data or the configuration is wrong; the message is that of the command line.
        Interrupted: the user stopped it; finished work is on disk.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import open_dict

    from app.cli.config.command_settings import ALL_FOLDS
    from app.cli.config.exit_codes import USER_ERRORS, in_one_line
    from app.cli.config.suggest import explain
    from app.cli.shell.command_line import CONF, today
    from app.cli.shell.main import run_mode

    words = today(overrides)
    with _as_before() as shown, initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            config = compose("config", words, return_hydra_config=True)
        except HydraException as error:
            loader = GlobalHydra.instance().config_loader()
            raise InputError(explain(error, words, loader)) from None
        if config.hydra.mode == RunMode.MULTIRUN or ALL_FOLDS in words:
            raise InputError(f"{' '.join(overrides)}: starts several runs, which needs the command line")
        HydraConfig.instance().set_config(config)
        logged = config.hydra.job_logging
        with open_dict(config):
            del config["hydra"]  # Hydra also removes it before it calls a command
        try:
            with _shown_as(logged, shown):
                folder = run_mode(config)
        except USER_ERRORS as error:
            raise error if isinstance(error, InputError) else InputError(in_one_line(error)) from None
    assert folder is not None, "every mode that runs in a process of the caller returns its folder"
    return RunFolder(folder)


@contextmanager
def _as_before() -> Iterator[logging.Handler]:
    """Show messages on stdout by the yielded handler; restore all that a run changes in its process."""
    import torch
    from hydra.core.singleton import Singleton

    root, threads = logging.getLogger(), torch.get_num_threads()
    handlers, level = list(root.handlers), root.level
    random, singletons = torch.get_rng_state(), Singleton.get_state()
    shown = logging.StreamHandler(sys.stdout)
    root.addHandler(shown)
    root.setLevel(logging.INFO)
    try:
        yield shown
    finally:
        for handler in [handler for handler in root.handlers if handler not in handlers]:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)
        torch.set_num_threads(threads)
        torch.set_rng_state(random)
        Singleton.set_state(singletons)


@contextmanager
def _shown_as(chosen: "DictConfig", shown: logging.Handler) -> Iterator[None]:
    """Show as much, and in the form, as the option of `log` says, whose settings are Hydra's job_logging."""
    shown.setLevel(chosen.handlers.console.get("level", logging.NOTSET))
    shown.setFormatter(logging.Formatter(chosen.formatters.simple.format))
    levels = {name: logging.getLogger(name).level for name in chosen.loggers}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(chosen.loggers[name].level)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
