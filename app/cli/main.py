"""One mode after another ends here: what the user can mend is one line, everything else a traceback."""

import sys

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from app.core.errors import InputError

INTERRUPTED = 130


class Interrupted(Exception):
    """The user stopped the run; everything worth keeping is on disk."""


def run(cfg: DictConfig) -> None:
    """Call the function that `cfg.mode.run` names; exit 1 on the user's error, 130 when interrupted."""
    try:
        get_method(cfg.mode.run)(cfg)
    except Interrupted as note:
        print(note, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (InputError, OmegaConfBaseException) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        sys.exit(1)


def is_multirun() -> bool:
    """Whether this is one job of several."""
    return HydraConfig.get().mode == RunMode.MULTIRUN
