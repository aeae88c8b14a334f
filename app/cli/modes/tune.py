"""mode=tune, if Optuna is installed."""

from omegaconf import DictConfig

from app.core.errors import InputError


def run(cfg: DictConfig) -> None:
    """Search for the best configuration.

    Raises:
        InputError: Optuna is not installed, or the search space or the study is wrong.
    """
    try:
        from app.cli.tune.tune import tune
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise InputError("mode=tune: Optuna is not installed; pip install 'optuna>=5,<6'") from None
    tune(cfg)
