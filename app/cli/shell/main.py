"""The innermost layer of the command line: run one mode, and print a user's error in one line."""

import warnings
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_method
from omegaconf import DictConfig

from app.cli.config.command_settings import command_settings
from app.cli.config.exit_codes import exit_codes
from app.cli.config.folders import is_multirun
from app.cli.config.run_config import AUTO, begun_or_resumed, resumed_config
from app.cli.sweep.job import run_job
from app.core.errors import InputError, Interrupted
from app.core.hidden import hiding
from app.train.machine.torchrun import refuse_several


def run(cfg: DictConfig) -> None:
    """Run the mode, by itself or as a job of a sweep."""
    # MONAI 1.5 imports this module if PyTorch has installed CUDA's own Python package.
    warnings.filterwarnings("ignore", "The cuda.cudart module is deprecated", FutureWarning)
    if is_multirun():
        run_job(Path(HydraConfig.get().runtime.output_dir), cfg, run_mode)
    else:
        with exit_codes():
            run_mode(cfg)


def run_mode(cfg: DictConfig) -> Path | None:
    """Call the function that `cfg.mode.run` names, of this command or of the run that it resumes.

    Returns the folder that it wrote.
    """
    resumes = cfg.train.resume is not None
    if cfg.train.resume == AUTO:
        cfg = begun_or_resumed(cfg)
    elif resumes:
        cfg = resumed_config(cfg)
    command_settings(cfg)
    mode = HydraConfig.get().runtime.choices["mode"]
    if cfg.mode.get("launches", False):
        raise InputError(f"mode={mode}: starts jobs itself; run it as a command, not as a job of a sweep")
    if not cfg.mode.get("several", False):
        refuse_several(f"train.resume={cfg.train.resume}" if resumes else f"mode={mode}")
    if cfg.mode.get("computes", True):
        from app.cli.config.build import set_up_process  # imports torch, which other modes do not need

        set_up_process(cfg)
    try:
        with hiding():
            folder: Path | None = get_method(cfg.mode.run)(cfg)
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(f"mode={mode}: interrupted; the same command starts again") from None
    return folder
