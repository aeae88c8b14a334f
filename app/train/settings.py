"""Settings of a training; their values are in conf/train."""

from dataclasses import dataclass, replace

from app.core.errors import InputError


@dataclass(frozen=True)
class TrainSettings:
    """The limits, averaging, validation and precision of a training."""

    steps: int | None
    """Optimizer steps in total, at which the learning-rate schedule ends; None: as planned."""
    epoch_steps: int
    """Steps between validations; each ends with a row of metrics.csv and a checkpoint."""
    max_minutes: float | None
    """Stop after this time, including validation; the schedule then follows the time instead of the steps."""
    patience: int | None
    """Stop after this many epochs without a better validation Dice."""
    clip_norm: float | None
    """Largest norm of all gradients together; larger gradients are scaled down."""
    ema_decay: float | None
    """Decay of an exponential moving average of the weights, which is then evaluated; None: no average."""
    validation_cases: int | None
    """Most held-out cases to validate on after each epoch, None for all; the final evaluation uses all."""
    accumulate: int = 1
    """Batches whose gradients are added up for one optimizer step."""
    precision: str = "fp32"
    """Precision of the network's computations: fp32, bf16, fp16 or auto; older runs resume in fp32."""
    compile: bool = False
    """Whether to train through torch.compile."""
    freeze: tuple[str, ...] = ()
    """Patterns of names, such as encoder.*, of parameters that keep their values."""
    layer_decay: float | None = None
    """Factor on the learning rate from each layer to the layer before it; None: one rate for all layers."""
    smaller_batch: bool = False
    """Whether to split steps into more, smaller batches when memory runs out, instead of ending."""
    planned_minutes: float | None = None
    """Minutes planned for the steps; if the steps are slower, the schedule follows the minutes."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name in ("steps", "epoch_steps", "patience", "validation_cases", "accumulate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"train.{name}: got {value}, wanted at least 1")
        for name in ("max_minutes", "clip_norm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"train.{name}: got {value}, wanted more than 0")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(f"train.ema_decay: got {self.ema_decay}, wanted between 0 and 1")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise InputError(f"train.layer_decay: got {self.layer_decay}, wanted more than 0, at most 1")

    @property
    def total_steps(self) -> int:
        """Optimizer steps in total, once the plan's number of steps is known."""
        assert self.steps is not None, "see with_steps"
        return self.steps

    def in_minutes(self, planned: float | None) -> "TrainSettings":
        """Return the settings with the minutes that were planned, unless steps or a time limit are set."""
        if self.steps is not None or self.max_minutes is not None:
            return self
        return replace(self, planned_minutes=planned)

    def with_steps(self, planned: int, *, factor: int = 1) -> "TrainSettings":
        """Return the settings with `factor` times the steps that are set, or else planned."""
        minutes = None if self.planned_minutes is None else factor * self.planned_minutes
        steps = factor * (planned if self.steps is None else self.steps)
        return replace(self, steps=steps, planned_minutes=minutes)
