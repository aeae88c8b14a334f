"""One mode after another ends here: what the user can mend is one line, everything else a traceback."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_method
from omegaconf import DictConfig

from app.cli.config.run_config import is_multirun, resumed_config
from app.cli.config.user_errors import USER_ERRORS, in_one_line
from app.cli.sweep.job import run_job
from app.core.allocator import keep_freed_memory
from app.train.torchrun import one_voice, process_count, process_rank, refuse_several

INTERRUPTED = 130


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; everything worth keeping is on disk.

    No `Exception`: it stops a whole sweep, where an error stops one job.
    """


def run(cfg: DictConfig) -> None:
    """Run the mode, as a run of its own or as a job of a sweep."""
    keep_freed_memory()
    if is_multirun():
        run_job(Path(HydraConfig.get().runtime.output_dir), cfg, _run_mode)
    else:
        with exit_codes():
            _run_mode(cfg)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Exit 1 on the user's error, 130 when interrupted, with one line; of several processes one speaks."""
    try:
        yield
    except Interrupted as note:
        if process_rank() == 0:
            print(note, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except USER_ERRORS as error:
        with one_voice() as speaks:
            if speaks:
                print(f"error: {in_one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        if process_count() == 1:
            raise
        with one_voice() as speaks:
            if speaks:
                traceback.print_exc()
        sys.exit(1)
    except KeyboardInterrupt:
        if process_rank() == 0:
            raise
        sys.exit(INTERRUPTED)


def _run_mode(cfg: DictConfig) -> None:
    """Call the function that `cfg.mode.run` names: the command's, or that of the run it goes on with."""
    going_on = cfg.train.resume is not None
    if going_on:
        cfg = resumed_config(cfg)
    if not cfg.mode.get("several", False):
        mode = HydraConfig.get().runtime.choices["mode"]
        refuse_several(f"train.resume={cfg.train.resume}" if going_on else f"mode={mode}")
    get_method(cfg.mode.run)(cfg)
