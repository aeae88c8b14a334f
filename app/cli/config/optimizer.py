"""The optimizer and the learning rate schedule that the configuration describes."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig
from torch.optim.lr_scheduler import LRScheduler

from app.cli.config.objects import build_object
from app.cli.config.settings import section_values
from app.core.errors import InputError

MakeOptimizer = Callable[..., torch.optim.Optimizer]
MakeSchedule = Callable[[torch.optim.Optimizer, int], LRScheduler]
_STEPS = 100  # of the schedule that is tried


def build_updates(cfg: DictConfig) -> tuple[MakeOptimizer, MakeSchedule]:
    """Return `build_optimizer` and `build_schedule`, tried on one weight before anything is prepared.

    Raises:
        InputError: the optimizer or the schedule refuses its settings.
    """
    make_optimizer, make_schedule = build_optimizer(cfg), build_schedule(cfg)
    with _trying(cfg, "optimizer"):
        optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(1))])
    make_schedule(optimizer, _STEPS)
    return make_optimizer, make_schedule


@contextmanager
def _trying(cfg: DictConfig, section: str, where: str = "") -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, ZeroDivisionError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{section}: {cfg[section]._target_} refuses its settings{where} ({why})") from None


def build_optimizer(cfg: DictConfig) -> MakeOptimizer:
    """Return a function from parameters to the optimizer.

    Raises:
        InputError: the learning rate is not above 0.
    """
    make: MakeOptimizer = build_object(cfg.optimizer, "optimizer")
    rate = cfg.optimizer.get("lr", 1.0)  # without one, the optimizer's own
    if not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise InputError(f"optimizer.lr: got {'null' if rate is None else rate}, wanted a number above 0")
    return make


def build_schedule(cfg: DictConfig) -> MakeSchedule:
    """Return a function from an optimizer and a number of steps to its schedule.

    `schedule.steps_as` names the schedule's argument for the number of steps; without it, no number is
    passed. The function raises InputError if the schedule cannot have these settings and steps.
    """
    values = section_values(cfg.schedule)
    name = values.pop("steps_as", None)

    def make(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        with_steps = {**values, **({name: steps} if name else {})}
        with _trying(cfg, "schedule", f" for {steps} steps"):
            schedule: LRScheduler = build_object(with_steps, "schedule")(optimizer)
        return schedule

    return make
