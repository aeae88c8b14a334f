"""Everything that changes while a network trains, one optimizer step, and the way to disk and back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from app.core.errors import InputError
from app.data.batches import Batch
from app.models.checkpoint import Checkpoint, Weights
from app.train.settings import TrainSettings

Loss = Callable[[Any, Tensor], Tensor]
Row = dict[str, float | None]


class TrainingState:
    """Network, optimizer, schedule, average, counters and history; `export` and `restore` are inverse."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler,
        settings: TrainSettings,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.schedule = schedule
        self.averaged = _average(network, settings.ema_decay)
        self.step = 0
        self.clock = 0
        """Steps the schedule has taken; ahead of `step` when time runs out before steps do."""
        self.seconds = 0.0
        self.validation_seconds = 0.0
        self.losses: list[float] = []
        """Of the steps since the last row of the history."""
        self.history: list[Row] = []

    @property
    def judged(self) -> nn.Module:
        """The network to validate: the average where there is one."""
        return self.network if self.averaged is None else self.averaged.module

    def update(self, batch: Batch, loss: Loss, clip_norm: float | None) -> None:
        """One optimizer step.

        Raises:
            InputError: the loss is not finite; names the step and the cases, the weights stay as they were.
        """
        value = batch_loss(self.network, batch, loss)
        if not torch.isfinite(value):
            raise InputError(
                f"step {self.step}: got a loss of {value.item()} on cases {', '.join(batch.cases)}; "
                "the last checkpoint is from before; lower optimizer.lr or set train.clip_norm"
            )
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), clip_norm)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        self.losses.append(value.item())
        self.step += 1

    def follow(self, clock: int) -> None:
        """Bring the schedule to `clock` steps."""
        while self.clock < clock:
            self.schedule.step()
            self.clock += 1

    def export(self) -> tuple[Weights, Weights | None, dict[str, Any]]:
        """Weights, averaged weights and the rest, for a checkpoint."""
        averaged = None if self.averaged is None else self.averaged.module.state_dict()
        rest = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "averages": 0 if self.averaged is None else int(self.averaged.n_averaged),
            "random": torch.get_rng_state(),
            "step": self.step,
            "clock": self.clock,
            "seconds": self.seconds,
            "validation_seconds": self.validation_seconds,
            "losses": self.losses,
            "history": self.history,
        }
        return self.network.state_dict(), averaged, rest

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint as if the run had never stopped."""
        rest = checkpoint.training
        self.network.load_state_dict(checkpoint.weights)
        if self.averaged is not None and checkpoint.averaged is not None:
            self.averaged.module.load_state_dict(checkpoint.averaged)
            self.averaged.n_averaged.fill_(rest["averages"])
        self.optimizer.load_state_dict(rest["optimizer"])
        self.schedule.load_state_dict(rest["schedule"])
        torch.set_rng_state(rest["random"])
        self.step, self.clock = rest["step"], rest["clock"]
        self.seconds, self.validation_seconds = rest["seconds"], rest["validation_seconds"]
        self.losses, self.history = list(rest["losses"]), list(rest["history"])


def batch_loss(network: nn.Module, batch: Batch, loss: Loss) -> Tensor:
    """The loss of a network on a batch, a scalar."""
    device = next(network.parameters()).device
    image = batch.image.to(device).contiguous(memory_format=torch.channels_last_3d)
    return loss(network(image), batch.labels.to(device)[:, None].float())


def _average(network: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=average)
