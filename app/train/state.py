"""The state of a training, one optimizer step, and saving and restoring."""

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
from app.train.metrics_csv import MetricsRow
from app.train.settings import TrainSettings

log = logging.getLogger(__name__)

LossFunction = Callable[[Any, Tensor], Tensor]


class NotFinite(InputError):
    """The loss or weights are not finite: the learning rate is too high for this training."""


class TrainingState:
    """The network, optimizer, schedule, average, counters and history of a training.

    `restore` reverses `export`.
    """

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
        """Steps of the schedule; larger than `step` if time runs out before the steps do."""
        self.seconds = 0.0
        self.validation_seconds = 0.0
        self.losses: list[float] = []
        """Losses of the steps since the last row of the history."""
        self.history: list[MetricsRow] = []
        self.requested = False
        """Whether the user has asked the training to end."""

    @property
    def judged(self) -> nn.Module:
        """The network to validate: the averaged weights if there are any."""
        return self.network if self.averaged is None else self.averaged.module

    def update(self, batch: Batch, loss: LossFunction, clip_norm: float | None) -> None:
        """Take one optimizer step on this process's part of a batch, in `train.accumulate` micro-batches.

        The loss is the mean over the micro-batches. If half-precision gradients overflow, the step is counted
        but the weights do not change.

        Raises:
            NotFinite: the loss is not finite; the message names the step and the cases, the weights do not
                change.
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

    def _gradients(self, batch: Batch, loss: LossFunction) -> list[float]:
        """Compute the gradients of a batch; return the losses of its micro-batches.

        If memory runs out and `train.smaller_batch` is set, this step and all later ones use more
        micro-batches.
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
            log.warning("step %d: out of memory; each step now uses %d smaller batches", self.step, more)

    def _more_micro_batches(self, patches: int) -> int | None:
        """Return the next larger number of equal parts of a batch; None if none exists or is allowed."""
        if not self._smaller_batch or self.processes.count > 1:
            return None
        wanted = range(self._micro_batches + 1, patches + 1)
        return next((parts for parts in wanted if patches % parts == 0), None)

    def _backward(self, part: Batch, loss: LossFunction, *, last: bool) -> float:
        """Add the gradients of a micro-batch to those of earlier ones; return its loss."""
        with nullcontext() if last else without_exchange(self._replica):
            value = batch_loss(self._forward, part, loss, self.precision, self.processes)
            if not torch.isfinite(value):
                cases = [case for cases in self.processes.gather(part.cases) for case in cases]
                raise NotFinite(f"step {self.step}: got a loss of {value.item()} on cases {', '.join(cases)}")
            # Each process has a part of the gradient of the whole loss; DistributedDataParallel takes the
            # mean.
            share = self.processes.count / self._micro_batches
            self.scaler.scale(share * value).backward()  # type: ignore[no-untyped-call]
        return value.item()

    def follow(self, clock: int) -> None:
        """Advance the schedule to `clock` steps."""
        while self.clock < clock:
            self.schedule.step()
            self.clock += 1

    def export(self) -> tuple[Weights, Weights | None, dict[str, Any]]:
        """Return weights, averaged weights and everything else, for a checkpoint."""
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
        """Restore a checkpoint, so that training continues as if it had never stopped."""
        rest = checkpoint.training
        self.network.load_state_dict(checkpoint.weights)
        if self.averaged is not None and checkpoint.averaged is not None:
            self.averaged.module.load_state_dict(checkpoint.averaged)
            self.averaged.n_averaged.fill_(rest["averages"])
        self.optimizer.load_state_dict(rest["optimizer"])
        base = self.schedule.base_lrs[0]  # from the configuration, which may differ from the checkpoint
        self.schedule.load_state_dict(rest["schedule"])
        self.multiply_rate(float(base / self.schedule.base_lrs[0]))
        if rest.get("scaler"):  # runs of older versions, or of another precision, have none
            self.scaler.load_state_dict(rest["scaler"])
        torch.set_rng_state(rest["random"])
        if rest.get("device_random") is not None:
            torch.cuda.set_rng_state(rest["device_random"])
        self.step, self.clock = rest["step"], rest["clock"]
        self.seconds, self.validation_seconds = rest["seconds"], rest["validation_seconds"]
        self.losses, self.history = list(rest["losses"]), list(rest["history"])
        self.requested = rest.get("requested", False)  # missing in runs of older versions
        if self._smaller_batch:
            self._micro_batches = max(self._micro_batches, rest.get("micro_batches", 1))

    def multiply_rate(self, factor: float) -> None:
        """Multiply the learning rate of all later steps."""
        scale_rates(self.schedule, [factor] * len(self.schedule.base_lrs))


def batch_loss(
    network: nn.Module,
    batch: Batch,
    loss: LossFunction,
    precision: torch.dtype = torch.float32,
    processes: Processes = ALONE,
) -> Tensor:
    """Return the loss (a scalar) of a network on the whole batch of all processes."""
    device = next(network.parameters()).device
    image = laid_out(batch.image.to(device))
    with autocast(device, precision):
        logits = network(image)
    labels = batch.labels.to(device, torch.int16)
    if processes.count > 1:
        exchanging = exchanging_sums(loss, processes.whole)
        if exchanging is not None:
            return exchanging(logits, labels[:, None].float())
        labels = processes.whole(labels.int())  # gloo cannot exchange 16-bit integers
    return loss(processes.whole(logits), labels[:, None].float())


def _average(network: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=average)
