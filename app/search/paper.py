"""The optimizer of the CAKES paper's searches, as in the authors' code.

It is gradient descent with momentum; norms and biases have no weight decay. The learning rate warms up for 5
of 70 parts of the search and falls to a tenth after 50 and again after 60 parts.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.optim.optimizer import ParamsT

from app.core.errors import InputError
from app.train.training import Recipe

_WARMED_UP, _FALLS = 5 / 70, (50 / 70, 60 / 70)
_FIRST_RATE = 0.01  # learning rate at the start of the warm-up
PUBLISHED_PULL = 1.8
"""How far a penalty of 1e-4 can move a scale in the published search: 70 epochs of 86 017 clips, 96 per step,
at a rate of 0.04."""


@dataclass(frozen=True)
class PaperSettings:
    """The settings of the published optimizer; the values are in conf/search, section `paper`."""

    lr: float
    momentum: float
    weight_decay: float
    clip_norm: float | None

    def __post_init__(self) -> None:
        """Validate values."""
        if self.lr <= 0:
            raise InputError(f"search.paper.lr: got {self.lr}, wanted more than 0")
        if not 0 <= self.momentum < 1:
            raise InputError(f"search.paper.momentum: got {self.momentum}, wanted 0 or more and less than 1")
        if self.weight_decay < 0:
            raise InputError(f"search.paper.weight_decay: got {self.weight_decay}, wanted 0 or more")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise InputError(f"search.paper.clip_norm: got {self.clip_norm}, wanted more than 0")

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this optimizer and without averaged weights.

        Raises:
            InputError: the recipe sets a learning rate per layer.
        """
        if recipe.settings.layer_decay is not None:
            raise InputError(
                f"train.layer_decay: got {recipe.settings.layer_decay}, but paper_cost and paper_performance "
                "train all layers at one rate; leave it out"
            )
        settings = replace(recipe.settings, clip_norm=self.clip_norm, ema_decay=None)
        return replace(
            recipe,
            settings=settings,
            make_optimizer=self.optimizer,
            make_schedule=self.schedule,
            rate_key="search.paper.lr",
        )

    def optimizer(self, parameters: ParamsT) -> Optimizer:
        """Return gradient descent in which only kernels have weight decay."""
        found: list[Any] = []
        for given in parameters:
            found += given["params"] if isinstance(given, dict) else [given]
        kernels, others = ([p for p in found if (p.dim() > 1) is wide] for wide in (True, False))
        groups: list[dict[str, Any]] = [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
        return SGD(groups, self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Return the schedule of the learning rate over this number of steps."""
        return LambdaLR(optimizer, lambda step: rate(self.lr, step / steps) / self.lr)

    def reach(self, steps: int) -> float:
        """Return how far this number of steps moves a weight whose gradient is always 1."""
        return sum(rate(self.lr, step / steps) for step in range(steps)) / (1 - self.momentum)


def rate(lr: float, done: float) -> float:
    """Return the learning rate after the share `done` of the training."""
    first = min(_FIRST_RATE, lr)
    warmed = first + (lr - first) * min(1.0, done / _WARMED_UP)
    return float(warmed * 0.1 ** sum(done >= fall for fall in _FALLS))
