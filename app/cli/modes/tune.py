"""The mode tune: search for the best configuration with Optuna, if it is installed."""

from collections.abc import Sequence

from app.cli.sweep.launch import Launching
from app.core.optional import require_packages


def run(launching: Launching, command: Sequence[str]) -> bool:
    """Search for the best configuration; always return True.

    Raises:
        InputError: Optuna is not installed, or the search space or the study is wrong.
    """
    require_packages("mode=tune", "optuna")
    from app.cli.tune.tune import tune

    tune(launching, command)
    return True
