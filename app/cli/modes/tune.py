"""mode=tune: the best configuration, searched for by Optuna if it is installed."""

from collections.abc import Sequence

from app.cli.sweep.launch import Launching
from app.core.errors import InputError


def run(launching: Launching, command: Sequence[str]) -> bool:
    """Search for the best configuration; return true.

    Raises:
        InputError: Optuna is not installed, or the search space or the study is wrong.
    """
    try:
        from app.cli.tune.tune import tune
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise InputError("mode=tune: Optuna is not installed; pip install 'optuna>=5,<6'") from None
    tune(launching, command)
    return True
