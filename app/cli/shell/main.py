"""One mode after another ends here: what the user can mend is one line, everything else a traceback."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_method
from omegaconf import DictConfig

from app.cli.config.exit_codes import exit_codes
from app.cli.config.run_config import is_multirun, resumed_config
from app.cli.sweep.job import run_job
from app.core.allocator import keep_freed_memory
from app.train.torchrun import refuse_several


def run(cfg: DictConfig) -> None:
    """Run the mode, as a run of its own or as a job of a sweep."""
    keep_freed_memory()
    if is_multirun():
        run_job(Path(HydraConfig.get().runtime.output_dir), cfg, _run_mode)
    else:
        with exit_codes():
            _run_mode(cfg)


def _run_mode(cfg: DictConfig) -> None:
    """Call the function that `cfg.mode.run` names: the command's, or that of the run it goes on with."""
    going_on = cfg.train.resume is not None
    if going_on:
        cfg = resumed_config(cfg)
    if not cfg.mode.get("several", False):
        mode = HydraConfig.get().runtime.choices["mode"]
        refuse_several(f"train.resume={cfg.train.resume}" if going_on else f"mode={mode}")
    get_method(cfg.mode.run)(cfg)
