"""The settings of a command that belong to no section: seeds, folds and threads."""

from dataclasses import dataclass, fields

from omegaconf import DictConfig

from app.cli.config.settings import read_part, read_settings
from app.core.errors import InputError

ALL_FOLDS = "fold=all"
"""The word that makes a command hold out every fold, one after the other."""
_SEEDS = 2**63  # above, PyTorch refuses a seed


@dataclass(frozen=True)
class CommandSettings:
    """The keys of config.yaml outside of sections, except `fold` and `device`, which may be words."""

    seed: int
    folds: int
    split_seed: int
    threads: int | None
    """Number of CPU threads; None for as many as OMP_NUM_THREADS says, or one per core."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name in ("seed", "split_seed"):
            if not 0 <= getattr(self, name) < _SEEDS:
                raise InputError(f"{name}: got {getattr(self, name)}, wanted 0 to {_SEEDS - 1}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads: got {self.threads}, wanted at least 1, or null for one per core")


@dataclass(frozen=True)
class _Places:
    """The folders that a command reads and writes."""

    data: str = "data"
    cache: str = "data/cache"
    scratch: str | None = None
    run: str = "runs"
    sweep: str | None = None


def command_settings(cfg: DictConfig) -> CommandSettings:
    """Return the settings outside of sections.

    Raises:
        InputError: one of their values or one of `paths` has the wrong type or is out of range.
    """
    read_part(_Places, cfg.paths, "paths")
    values = {field.name: cfg[field.name] for field in fields(CommandSettings)}
    return read_settings(CommandSettings, values, "")
