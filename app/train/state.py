"""Everything that changes while a network trains, one optimizer step, and the way to disk and back."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from app.core.errors import InputError
from app.data.sample.batches import Batch
from app.layers.device_policy import autocast, choose_precision, laid_out
from app.layers.out_of_memory import ERRORS, free_unused, is_out_of_memory
from app.models.checkpoint import Checkpoint, Weights
from app.models.torch_compile import compiled
from app.train.layer_rates import scale_rates
from app.train.machine.processes import ALONE, Processes, without_exchange
from app.train.machine.shared_loss import exchanging_sums
from app.train.settings import TrainSettings

log = logging.getLogger(__name__)

Loss = Callable[[Any, Tensor], Tensor]
Row = dict[str, float | None]


class NotFinite(InputError):
    """A loss or weights are not finite: the learning rate is too high for what is trained."""


class TrainingState:
    """Network, optimizer, schedule, average, counters and history; `export` and `restore` are inverse."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler,
        settings: TrainSettings,
        processes: Processes = ALONE,
    ) -> None:
        self.network = network
        self.processes = processes
        self._replica = processes.replicate(network)
        self._forward = compiled(self._replica, "train.compile") if settings.compile else self._replica
        self._micro_batches = settings.accumulate
        self._smaller_batch = settings.smaller_batch
        device = next(network.parameters()).device
        self.precision = choose_precision(settings.precision, device)
        scaled = self.precision == torch.float16
        self.scaler = torch.amp.GradScaler(device.type if scaled else "cpu", enabled=scaled)
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
        self.requested = False
        """Whether the user has asked it to end."""

    @property
    def judged(self) -> nn.Module:
        """The network to validate: the average where there is one."""
        return self.network if self.averaged is None else self.averaged.module

    def update(self, batch: Batch, loss: Loss, clip_norm: float | None) -> None:
        """One optimizer step on this process's part of a batch, in `train.accumulate` micro-batches.

        The loss is the mean of those of the micro-batches. Half-precision gradients that overflow are left
        out: the step is counted, the weights stay.

        Raises:
            NotFinite: the loss is not finite; names the step and the cases, the weights stay as they were.
        """
        losses = self._gradients(batch, loss)
        self.scaler.unscale_(self.optimizer)
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        self.losses.append(fmean(losses))
        self.step += 1

    def _gradients(self, batch: Batch, loss: Loss) -> list[float]:
        """Leave the gradients of a batch with the weights; return the losses of its micro-batches.

        Where memory runs out and `train.smaller_batch` is set, it is tried again in more micro-batches, as
        are then all steps to come.
        """
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            parts = batch.split(self._micro_batches)
            try:
                return [
                    self._backward(part, loss, last=index == len(parts))
                    for index, part in enumerate(parts, start=1)
                ]
            except ERRORS as error:
                more = self._more_micro_batches(len(batch.image))
                if more is None or not is_out_of_memory(error):
                    raise
            self._micro_batches = more
            free_unused()
            log.warning(
                "step %d: out of memory; from now on a step takes %d smaller batches", self.step, more
            )

    def _more_micro_batches(self, patches: int) -> int | None:
        """The next larger number of equal parts of a batch; None if there is none, or it is not asked for."""
        if not self._smaller_batch or self.processes.count > 1:
            return None
        wanted = range(self._micro_batches + 1, patches + 1)
        return next((parts for parts in wanted if patches % parts == 0), None)

    def _backward(self, part: Batch, loss: Loss, *, last: bool) -> float:
        """Add a micro-batch's gradients to those there are; its loss."""
        with nullcontext() if last else without_exchange(self._replica):
            value = batch_loss(self._forward, part, loss, self.precision, self.processes)
            if not torch.isfinite(value):
                cases = [case for cases in self.processes.gather(part.cases) for case in cases]
                raise NotFinite(f"step {self.step}: got a loss of {value.item()} on cases {', '.join(cases)}")
            # Processes end with the mean of their gradients, of which each has a part of the whole.
            share = self.processes.count / self._micro_batches
            self.scaler.scale(share * value).backward()  # type: ignore[no-untyped-call]
        return value.item()

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
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "device_random": self._device_random(),
            "step": self.step,
            "clock": self.clock,
            "seconds": self.seconds,
            "validation_seconds": self.validation_seconds,
            "losses": self.losses,
            "history": self.history,
            "requested": self.requested,
            "micro_batches": self._micro_batches,
        }
        return self.network.state_dict(), averaged, rest

    def _device_random(self) -> Tensor | None:
        on_gpu = next(self.network.parameters()).device.type == "cuda"
        return torch.cuda.get_rng_state() if on_gpu else None

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint as if the run had never stopped."""
        rest = checkpoint.training
        self.network.load_state_dict(checkpoint.weights)
        if self.averaged is not None and checkpoint.averaged is not None:
            self.averaged.module.load_state_dict(checkpoint.averaged)
            self.averaged.n_averaged.fill_(rest["averages"])
        self.optimizer.load_state_dict(rest["optimizer"])
        base = self.schedule.base_lrs[0]  # of the configuration, which may have another than the checkpoint
        self.schedule.load_state_dict(rest["schedule"])
        self.multiply_rate(float(base / self.schedule.base_lrs[0]))
        if rest.get("scaler"):  # a run of before, or of another precision, has none
            self.scaler.load_state_dict(rest["scaler"])
        torch.set_rng_state(rest["random"])
        if rest.get("device_random") is not None:
            torch.cuda.set_rng_state(rest["device_random"])
        self.step, self.clock = rest["step"], rest["clock"]
        self.seconds, self.validation_seconds = rest["seconds"], rest["validation_seconds"]
        self.losses, self.history = list(rest["losses"]), list(rest["history"])
        self.requested = rest.get("requested", False)  # a run of before does not say
        if self._smaller_batch:
            self._micro_batches = max(self._micro_batches, rest.get("micro_batches", 1))

    def multiply_rate(self, factor: float) -> None:
        """Change the learning rate, of all steps to come."""
        scale_rates(self.schedule, [factor] * len(self.schedule.base_lrs))


def batch_loss(
    network: nn.Module,
    batch: Batch,
    loss: Loss,
    precision: torch.dtype = torch.float32,
    processes: Processes = ALONE,
) -> Tensor:
    """The loss of a network on the batch that all processes make together, a scalar."""
    device = next(network.parameters()).device
    image = laid_out(batch.image.to(device))
    with autocast(device, precision):
        logits = network(image)
    labels = batch.labels.to(device, torch.int16)
    if processes.count > 1:
        exchanging = exchanging_sums(loss, processes)
        if exchanging is not None:
            return exchanging(logits, labels[:, None].float())
        labels = processes.whole(labels.int())  # gloo exchanges no 16 bits
    return loss(processes.whole(logits), labels[:, None].float())


def _average(network: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=average)
